"""The answer as text for a terminal: readable at 80 columns, without color, and in a pipe."""

from __future__ import annotations

import os
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from normwise.report.build import build
from normwise.report.document import Advice, Answer, ClaimLine, Document, More, Scorecard, Tone
from normwise.report.figure import Panel
from normwise.report.names import clipped
from normwise.report.numbers import number
from normwise.report.phrases import PHRASES
from normwise.report.sparkline import bounds, resampled, sparkline
from normwise.results import Comparison

# For terminals whose encoding lacks these signs (a pipe under LANG=C, an old Windows console).
_ASCII = str.maketrans(
    {
        "✓": "+",
        "✗": "x",
        "–": "-",
        "−": "-",
        "×": "x",
        "≥": ">=",
        "≤": "<=",
        "“": '"',
        "”": '"',
        "…": "...",
        **dict(zip("▁▂▃▄▅▆▇█", "01234567", strict=True)),
        "±": "+-",
        "λ": "lambda",
        "²": "2",
    }
)
_STYLES: dict[Tone, str] = {"good": "green", "bad": "red", "open": "yellow", "neutral": "blue", "none": "dim"}
_CURVE = 26
_LEAST_CURVE, _END, _GAP = 10, 6, 2
"""Signs of a learning curve."""


def to_terminal(
    source: Document | Comparison,
    console: Console,
    *,
    path: str | os.PathLike[str] | None = None,
    claims: bool = False,
) -> None:
    """Print the answer of every setting: sentence, scorecard, curves, what to do, what would decide the rest.

    Args:
        source: a comparison, or the document that `build` made of one.
        console: where to print; its width, color and encoding are respected.
        path: where the whole report lies, printed last.
        claims: whether every claim gets its line.
    """
    document = build(source) if isinstance(source, Comparison) else source
    console.print(_text(document.data_line, console, "dim"))
    for notice in document.notices:
        style = "bold red" if notice.tone == "bad" else "bold yellow"
        console.print(_text(f"! {notice.label}: {notice.text}", console, style))
    lines = document.claim_lines()
    for answer in document.answers:
        console.print()
        _answer(answer, document, console)
        if claims:
            _claims((line for line in lines if line.setting == answer.setting), console)
    if not document.answers:
        console.print(_text("Nothing was measured yet.", console))
    # All settings share one command; it stands behind the last of them.
    more = document.more()
    if more is not None:
        _more(more, console)
    if path is not None:
        console.print()
        # A path that is broken over lines cannot be copied.
        console.print(_text(f"Report: {os.fspath(path)}", console), soft_wrap=True)


def _text(content: str, console: Console, style: str = "") -> Text:
    """Return text that the console can write."""
    try:
        content.encode(console.encoding)
    except UnicodeEncodeError:
        content = content.translate(_ASCII).encode(console.encoding, "replace").decode(console.encoding)
    return Text(content, style=style)


def _answer(answer: Answer, document: Document, console: Console) -> None:
    if len(document.answers) > 1:
        console.print(_text(answer.name, console, "bold underline"))
    console.print(_text(answer.sentence, console, "bold"))
    if answer.aside:
        console.print(_text(answer.aside, console, "red"))
    console.print(_text(answer.network, console, "dim"))
    if answer.scorecard.rows:
        console.print()
        _scorecard(answer.scorecard, console)
    _curves(answer, document, console)
    if answer.advice is not None:
        _advice(answer.advice, console)


def _scorecard(card: Scorecard, console: Console) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    longest = max(len(row.variant) for row in card.rows)
    table.add_column("", overflow="fold", min_width=min(12, longest), max_width=max(12, console.width - 68))
    for column in card.columns:
        unit = column.unit.replace("decades", "dec").replace("dec per layer", "dec")
        table.add_column(_text(f"{column.short}\n{unit}", console), no_wrap=console.width >= 76)
    for row in card.rows:
        cells = [_text(f"{c.glyph} {c.number}".strip(), console, _STYLES[c.tone]) for c in row.cells]
        table.add_row(_text(row.variant, console, "bold" if row.recommended else ""), *cells)
    console.print(table)
    console.print(_text(card.key, console, "dim"))


def _curves(answer: Answer, document: Document, console: Console) -> None:
    """Print a line for each variant: validation over training beside validation over learning rates."""
    if answer.curves is None and answer.rates is None:
        return
    curves = {} if answer.curves is None else {s.name: (s.x, s.y) for s in answer.curves.series}
    rates = {} if answer.rates is None else {s.name: s.y for s in answer.rates.series}
    tallest, over = bounds(y for _, y in curves.values()), bounds(rates.values())
    order = [card.variant for card in answer.scorecard.rows]
    names = [name for name in [answer.scorecard.baseline, *order] if name in curves or name in rates]
    head = _rate_head(answer.rates)
    # The curve gives way, not the numbers: beside it stand names, the end, the rates and what lies between.
    beside = min(18, max((len(name) for name in names), default=0)) + _END + len(head) + 3 * _GAP
    width = min(_CURVE, max(_LEAST_CURVE, console.width - beside))
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    table.add_column("", no_wrap=True, max_width=18)
    title = "validation over steps"
    table.add_column(_text(title if len(title) <= width else "validation", console), no_wrap=True)
    table.add_column("end", justify="right", no_wrap=True)
    table.add_column(_text(head, console), no_wrap=True)
    for name in names:
        x, y = curves.get(name, ((), ()))
        known = [value for value in y if value is not None]
        table.add_row(
            _text(clipped(name, 18), console),
            _text(
                sparkline(resampled(x, y, width), tallest, higher_is_better=document.higher, gap=" "),
                console,
            ),
            _text(number(known[-1] if known else None), console),
            _text(sparkline(rates.get(name, ()), over, higher_is_better=document.higher), console),
        )
    console.print()
    console.print(table)
    console.print(_text("taller is better; × has no value, because it diverged", console, "dim"))


def _rate_head(panel: Panel | None) -> str:
    rates = [x for series in panel.series for x in series.x if x is not None] if panel is not None else []
    return f"over learning rates {number(min(rates), 2)} to {number(max(rates), 2)}" if rates else ""


def _advice(advice: Advice, console: Console) -> None:
    console.print()
    console.print(_text(f"{advice.title}: {advice.text}", console, "bold"))
    first = next((tab for tab in advice.tabs if tab.text), None)
    if first is None:
        return
    console.print(_text(f"{first.name}:", console, "dim"))
    # Code that is broken over lines cannot be pasted.
    for line in first.text.splitlines():
        console.print(_text(f"    {line}", console), soft_wrap=True)
    if first.note:
        console.print(_text(first.note, console, "dim"))
    others = [tab.name for tab in advice.tabs if tab is not first and tab.text]
    if others:
        console.print(_text(f"The same for {', '.join(others)} is in the report.", console, "dim"))


def _more(more: More, console: Console) -> None:
    console.print()
    console.print(_text(more.text, console))
    if more.command:
        console.print(_text(f"    {more.command}", console), soft_wrap=True)


def _claims(lines: Iterable[ClaimLine], console: Console) -> None:
    heading = ""
    for line in lines:
        label = next(phrase.label for name, phrase in PHRASES.items() if name == line.claim)
        if label != heading:
            heading = label
            console.print()
            console.print(_text(heading, console, "bold"))
        table = Table.grid(padding=(0, 1, 0, 0))
        table.add_column(width=1)
        table.add_column(min_width=9, max_width=20)
        table.add_column()
        style = _STYLES[line.tone]
        told = _text(f"{line.verdict}: {line.brief}", console)
        table.add_row(_text(line.glyph, console, style), _text(line.variant, console), told)
        console.print(table)
