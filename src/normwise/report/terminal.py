"""The document as terminal tables: readable at 80 columns, without color, and in a pipe."""

from __future__ import annotations

import os
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from normwise.report.build import build
from normwise.report.document import Answer, ClaimLine, Document, ScorecardRow, Tone
from normwise.report.phrases import PHRASES
from normwise.results import Comparison

# For terminals whose encoding lacks these signs (a pipe under LANG=C, an old Windows console).
_ASCII = str.maketrans(
    {"✓": "+", "✗": "x", "–": "-", "−": "-", "×": "x", "≥": ">=", "≤": "<=", "“": '"', "”": '"', "…": "..."}
)
_STYLES: dict[Tone, str] = {"good": "green", "bad": "red", "open": "yellow", "neutral": "blue", "none": "dim"}


def to_terminal(
    source: Document | Comparison,
    console: Console,
    *,
    path: str | os.PathLike[str] | None = None,
    claims: bool = True,
) -> None:
    """Print the report: the answers, a scorecard for each network, a line for each claim.

    Args:
        source: a comparison, or the document that `build` made of one.
        console: where to print; its width, color and encoding are respected.
        path: where the whole report lies, printed last.
        claims: whether every claim gets its line.
    """
    document = build(source) if isinstance(source, Comparison) else source
    console.print(_text(document.question, console, "bold"))
    console.print(_text(document.data_line, console, "dim"))
    for warning in document.warnings:
        console.print(_text(f"! {warning}", console, "bold red"))
    lines = document.claim_lines()
    for answer in document.answers:
        console.print()
        _answer(answer, console)
        if claims:
            _claims((line for line in lines if line.setting == answer.setting), console)
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


def _answer(answer: Answer, console: Console) -> None:
    console.print(_text(answer.name, console, "bold underline"))
    console.print(_text(answer.network, console, "dim"))
    console.print(_text(" ".join(answer.sentences), console))
    card = answer.scorecard
    if not card.variants or not card.rows:
        return
    console.print()
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    longest = max(len(name) for name in card.variants)
    table.add_column("", overflow="fold", min_width=min(12, longest), max_width=max(12, console.width - 68))
    units = [_unit(row) for row in card.rows]
    for row, unit in zip(card.rows, units, strict=True):
        table.add_column(_text(f"{row.short}\n{unit}", console), no_wrap=console.width >= 76)
    for i, variant in enumerate(card.variants):
        cells = []
        for row, unit in zip(card.rows, units, strict=True):
            cell = row.cells[i]
            text = f"{cell.glyph} {cell.number.removesuffix(unit).rstrip() if unit else cell.number}"
            cells.append(_text(text.strip(), console, _STYLES[cell.tone]))
        table.add_row(_text(variant, console), *cells)
    console.print(_text(f"Against {card.baseline}", console, "bold"))
    console.print(table)
    console.print(_text("✓ yes  ✗ no  ? undecided  = no difference  – not measured", console, "dim"))


def _unit(row: ScorecardRow) -> str:
    """Return the unit that all numbers of a row end in; "" if they share none."""
    words = {cell.number.rpartition(" ")[2] for cell in row.cells if cell.number}
    unit = words.pop() if len(words) == 1 else ""
    return "" if any(sign.isdigit() for sign in unit) else unit


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
