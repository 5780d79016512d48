"""A benchmark as text for a terminal: a table of cases by operation, the bars, what is slower."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from normwise.report.benchmark_words import (
    RIVALS,
    SIDES,
    bandwidth_line,
    bar_words,
    doubts,
    headline,
    machine_line,
    particulars,
    shape,
)
from normwise.report.numbers import MISSING, number, ratio
from normwise.results import Benchmark, CaseResult, Side

# For terminals whose encoding lacks these signs.
_ASCII = str.maketrans(
    {"×": "x", "→": ">", "µ": "u", "–": "-", "✓": "+", "✗": "x", "−": "-", "²": "2", "³": "3"}
)
_SHORT: dict[Side, str] = {"normwise": "normwise", "eager": "eager", "compile": "compile", "jax": "JAX"}


def benchmark_to_terminal(benchmark: Benchmark, console: Console) -> None:
    """Print a benchmark; the console's width, color and encoding are respected."""
    _say(machine_line(benchmark), console, "dim")
    _say(bandwidth_line(benchmark.bandwidth), console, "dim")
    for text in doubts(benchmark):
        _say(f"! {text}", console, "yellow")
    if benchmark.cases:
        console.print()
        _cases(benchmark, console)
    errors = [(case, side) for case in benchmark.cases for side in case.sides if side.error]
    for case, side in errors:
        _say(f"{case.name}: {RIVALS[side.side]}: {side.error}", console, "red")
    if benchmark.bars:
        console.print()
        _bars(benchmark, console)
    console.print()
    _say(headline(benchmark), console, "bold")
    for name in benchmark.slower:
        case = next(case for case in benchmark.cases if case.name == name)
        _say(f"  slower than eager ({ratio(case.ratio('eager'))}): {name}", console, "red")


def _text(content: str, console: Console, style: str = "") -> Text:
    """Return text that the console can write."""
    try:
        content.encode(console.encoding)
    except UnicodeEncodeError:
        content = content.translate(_ASCII).encode(console.encoding, "replace").decode(console.encoding)
    return Text(content, style=style)


def _say(content: str, console: Console, style: str = "") -> None:
    if content:
        console.print(_text(content, console, style))


def _columns(console: Console, asked: Sequence[Side], rivals: Sequence[Side]) -> Table:
    """A table whose columns are as wide in every operation's part, since each part is printed on its own."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    numbers = 8 * (len(asked) + len(rivals)) + 7
    table.add_column("", overflow="fold", width=max(16, min(48, console.width - numbers - 1)))
    for side in asked:
        table.add_column(
            f"{_SHORT[side]}\nms",
            justify="right",
            no_wrap=True,
            width=len(_SHORT["normwise"]) if side == "normwise" else 7,
        )
    for side in rivals:
        table.add_column(f"vs\n{_SHORT[side]}", justify="right", no_wrap=True, width=7)
    table.add_column(_text("×\nL", console), justify="right", no_wrap=True, width=5)
    return table


def _cases(benchmark: Benchmark, console: Console) -> None:
    """One row for each case; columns of sides that were not asked for are left out."""
    asked = [side for side, _ in SIDES if any(case.side(side) for case in benchmark.cases)]
    rivals = [side for side in asked if side != "normwise"]
    console.print(_columns(console, asked, rivals))
    for title in dict.fromkeys(case.title for case in benchmark.cases):
        _say(title, console, "bold")
        table = _columns(console, asked, rivals)
        table.show_header = False
        for case in benchmark.cases:
            if case.title == title:
                style = "red" if case.name in benchmark.slower else ""
                table.add_row(*(_text(cell, console, style) for cell in _cells(case, asked, rivals)))
        console.print(table)


def _cells(case: CaseResult, asked: Sequence[Side], rivals: Sequence[Side]) -> list[str]:
    extra = particulars(case)
    times = []
    for name in asked:
        side = case.side(name)
        times.append(
            MISSING if side is None or side.milliseconds is None else number(side.milliseconds.median)
        )
    return [
        f"  {shape(case)}" + (f" {extra}" if extra else ""),
        *times,
        *(ratio(case.ratio(rival)) for rival in rivals),
        MISSING if case.times_limit is None else number(case.times_limit, 2),
    ]


def _bars(benchmark: Benchmark, console: Console) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for _ in range(3):
        table.add_column("", overflow="fold")
    table.show_header = False
    for bar in benchmark.bars:
        style = "green" if bar.passed else "red"
        few = "" if bar.cases == bar.asked else f" ({bar.cases} of {bar.asked} cases)"
        table.add_row(
            _text("✓" if bar.passed else "✗", console, style),
            _text(bar.title, console),
            _text(bar_words(bar) + few, console, style),
        )
    console.print(table)
