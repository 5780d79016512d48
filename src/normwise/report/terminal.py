"""The document as terminal tables: readable at 80 columns, without color, and in a pipe."""

from __future__ import annotations

import os
from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from normwise.report.build import build
from normwise.report.document import Answer, ClaimLine, Document, ScorecardRow, Tone
from normwise.report.phrases import PHRASES
from normwise.results import Comparison

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
    console.print(Text(document.question, style="bold"))
    console.print(Text(document.data_line, style="dim"))
    for warning in document.warnings:
        console.print(Text(f"! {warning}", style="bold red"))
    lines = document.claim_lines()
    for answer in document.answers:
        console.print()
        _answer(answer, console)
        if claims:
            _claims((line for line in lines if line.setting == answer.setting), console)
    if path is not None:
        console.print()
        # A path that is broken over lines cannot be copied.
        console.print(Text(f"Report: {os.fspath(path)}"), soft_wrap=True)


def _answer(answer: Answer, console: Console) -> None:
    console.print(Text(answer.name, style="bold underline"))
    console.print(Text(answer.network, style="dim"))
    console.print(Text(" ".join(answer.sentences)))
    card = answer.scorecard
    if not card.variants or not card.rows:
        return
    console.print()
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    longest = max(len(name) for name in card.variants)
    table.add_column("", overflow="fold", min_width=min(12, longest), max_width=max(12, console.width - 68))
    units = [_unit(row) for row in card.rows]
    for row, unit in zip(card.rows, units, strict=True):
        table.add_column(escape(f"{row.short}\n{unit}"), no_wrap=console.width >= 76)
    for i, variant in enumerate(card.variants):
        cells = []
        for row, unit in zip(card.rows, units, strict=True):
            cell = row.cells[i]
            text = f"{cell.glyph} {cell.number.removesuffix(unit).rstrip() if unit else cell.number}"
            cells.append(Text(text.strip(), style=_STYLES[cell.tone]))
        table.add_row(Text(variant), *cells)
    console.print(Text(f"Against {card.baseline}", style="bold"))
    console.print(table)
    console.print(Text("✓ yes  ✗ no  ? undecided  = no difference  – not measured", style="dim"))


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
            console.print(Text(heading, style="bold"))
        table = Table.grid(padding=(0, 1, 0, 0))
        table.add_column(width=1)
        table.add_column(min_width=9, max_width=20)
        table.add_column()
        style = _STYLES[line.tone]
        table.add_row(
            Text(line.glyph, style=style), Text(line.variant), Text(f"{line.verdict}: {line.brief}")
        )
        console.print(table)
