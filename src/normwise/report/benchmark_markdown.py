"""A benchmark as Markdown: the bars and every case as tables, to stand in a document."""

from __future__ import annotations

from normwise.report.benchmark_page import case_table
from normwise.report.benchmark_words import RIVALS, bandwidth_line, doubts, headline, machine_line, possible
from normwise.report.document import Table
from normwise.report.numbers import ratio
from normwise.results import Benchmark


def benchmark_to_markdown(benchmark: Benchmark) -> str:
    """Return a benchmark as Markdown text."""
    parts = [
        headline(benchmark),
        machine_line(benchmark) + ".",
        bandwidth_line(benchmark.bandwidth),
        *doubts(benchmark),
    ]
    if benchmark.bars:
        parts += ["### Bars", _table(_bars(benchmark))]
    if benchmark.slower:
        parts.append("Slower than torch eager: " + "; ".join(f"`{name}`" for name in benchmark.slower) + ".")
    parts += ["### Every case", _table(case_table(benchmark.cases))]
    if benchmark.command:
        parts.append(f"```console\n$ {benchmark.command}\n```")
    return "\n\n".join(part for part in parts if part) + "\n"


def _bars(benchmark: Benchmark) -> Table:
    rows = tuple(
        (
            bar.title,
            f"eager, {bar.quantity}" if bar.quantity == "memory" else RIVALS[bar.quantity],
            ratio(bar.value),
            ("≤ " if bar.quantity == "memory" else "≥ ") + ratio(bar.bar) + possible(bar),
            ratio(bar.worst),
            f"{bar.cases} of {bar.asked}",
            "reached" if bar.passed else "missed",
        )
        for bar in benchmark.bars
    )
    columns = ("group", "against", "measured", "bar", "worst case", "cases", "")
    return Table("", columns, rows, (False, False, True, True, True, True, False))


def _table(table: Table) -> str:
    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = "|" + "|".join("---:" if right else "---" for right in table.numeric) + "|"
    return "\n".join((line(table.columns), rule, *map(line, table.rows)))
