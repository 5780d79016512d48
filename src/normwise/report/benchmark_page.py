"""A benchmark without a format: what a page shows, as frozen data with all lengths of bars as shares of their place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from normwise.report.benchmark_words import (
    METHOD,
    RIVALS,
    SIDES,
    bandwidth_line,
    doubts,
    headline,
    machine_line,
    milliseconds,
    particulars,
    possible,
    shape,
    size,
)
from normwise.report.document import Notice, Table
from normwise.report.numbers import MISSING, count, number, ratio
from normwise.results import BarResult, Benchmark, CaseResult

LOW = 0.5
"""The left end of the scale of ratios, which is logarithmic; what is smaller is drawn there."""


@dataclass(frozen=True)
class Gauge:
    """A bar from 1× to a ratio on a logarithmic scale, with a tick where it should reach.

    Attributes:
        start, width, tick, one: percent of the whole scale; `one` is where 1× lies.
        good: whether the bar was reached.
    """

    label: str
    target: str
    detail: str
    start: float
    width: float
    tick: float
    one: float
    good: bool


@dataclass(frozen=True)
class BarRow:
    """One group of cases with its gauges against eager and torch.compile; None where there is no bar."""

    title: str
    cases: str
    eager: Gauge | None
    compiled: Gauge | None


@dataclass(frozen=True)
class MemoryRow:
    """Saved memory as a share of eager's; percent."""

    title: str
    label: str
    target: str
    width: float
    tick: float
    good: bool


@dataclass(frozen=True)
class TimeBar:
    """The time of one side, as percent of the slowest of the case; `low` and `high` are its quartiles."""

    side: str
    name: str
    label: str
    width: float
    low: float
    high: float
    ratio: str


@dataclass(frozen=True)
class CaseRow:
    """One case: its bars of time, and where the limit lies among them (percent; None without one)."""

    shape: str
    particulars: str
    bars: tuple[TimeBar, ...]
    limit: float | None
    limit_label: str
    saved: str
    slower: bool
    errors: tuple[str, ...]
    backend: str


@dataclass(frozen=True)
class OpSection:
    """All cases of one operation."""

    anchor: str
    title: str
    rows: tuple[CaseRow, ...]


@dataclass(frozen=True)
class BenchmarkPage:
    """The whole page.

    Attributes:
        scale: ticks of the scale of ratios, as label and percent.
        compiled: whether any bar speaks of torch.compile.
    """

    title: str
    headline: str
    machine: str
    bandwidth_line: str
    notices: tuple[Notice, ...]
    scale: tuple[tuple[str, float], ...]
    bars: tuple[BarRow, ...]
    compiled: bool
    memory: tuple[MemoryRow, ...]
    sections: tuple[OpSection, ...]
    bandwidth: Table
    numbers: Table
    method: tuple[str, ...]
    command: str
    footer: str


def benchmark_page(benchmark: Benchmark) -> BenchmarkPage:
    """Build the page of a benchmark: words, tables and lengths of bars, in reading order."""
    speed = [bar for bar in benchmark.bars if bar.quantity != "memory"]
    top = _top(speed)
    return BenchmarkPage(
        title="normwise bench",
        headline=headline(benchmark),
        machine=machine_line(benchmark),
        bandwidth_line=bandwidth_line(benchmark.bandwidth),
        notices=_notices(benchmark),
        scale=tuple((f"{value:g}×", _place(value, top)) for value in _steps(top)),
        bars=_bar_rows(speed, top),
        compiled=any(bar.quantity == "compile" for bar in speed),
        memory=tuple(_memory_row(bar) for bar in benchmark.bars if bar.quantity == "memory"),
        sections=_sections(benchmark),
        bandwidth=_bandwidth(benchmark),
        numbers=case_table(benchmark.cases),
        method=METHOD,
        command=benchmark.command,
        footer=f"normwise {benchmark.machine.versions.get('normwise', '')}, {benchmark.created}, "
        f"{count(len(benchmark.cases), 'case')}, {count(benchmark.bursts, 'burst')} of each side, "
        f"{number(round(benchmark.seconds))} s",
    )


def case_table(cases: Iterable[CaseResult]) -> Table:
    """Return every case in numbers."""
    columns = ("operation", "input", "layout, dtype, mode", *(name for _, name in SIDES))
    columns += ("vs eager", "vs compile", "vs JAX", "× L", "saved", "eager saves", "back end")
    rows = []
    for case in cases:
        sides = [case.side(side) for side, _ in SIDES]
        times = [None if s is None or s.milliseconds is None else s.milliseconds.median for s in sides]
        rows.append(
            (
                case.title,
                shape(case),
                particulars(case),
                *(milliseconds(time) for time in times),
                *(ratio(case.ratio(rival)) for rival in ("eager", "compile", "jax")),
                MISSING if case.times_limit is None else number(case.times_limit, 3),
                size(case.saved_bytes),
                size(case.eager_saved_bytes),
                case.backend,
            )
        )
    return Table(
        "Every case: medians of one call; ratios are the rival's time over normwise's, burst by burst.",
        columns,
        tuple(rows),
        (False, False, False, *(True,) * 10, False),
        collapsed=True,
    )


def _notices(benchmark: Benchmark) -> tuple[Notice, ...]:
    found = [Notice("Doubt", text, "open") for text in doubts(benchmark)]
    if benchmark.slower:
        cases = count(len(benchmark.slower), "case")
        found.append(Notice("Slower than torch eager", f"{cases}, marked below.", "bad"))
    return tuple(found)


def _top(bars: Sequence[BarResult]) -> float:
    """The right end of the scale: the next power of two beyond everything that is drawn."""
    largest = max([2.0, *(bar.value for bar in bars), *(bar.bar for bar in bars)])
    return float(2.0 ** math.ceil(math.log2(largest * 1.02)))


def _steps(top: float) -> list[float]:
    """Where the scale is labelled: at every doubling from 1, or at every second one where the labels would touch."""
    last = round(math.log2(top))
    return [2.0**k for k in range(0, last + 1, 1 if last <= 4 else 2)]


def _place(value: float, top: float) -> float:
    return round(100 * math.log(max(value, LOW) / LOW) / math.log(top / LOW), 2)


def _gauge(bar: BarResult | None, top: float) -> Gauge | None:
    if bar is None:
        return None
    one, end = _place(1.0, top), _place(bar.value, top)
    return Gauge(
        label=ratio(bar.value),
        target=ratio(bar.bar),
        detail=f"worst: {bar.worst_case}, {ratio(bar.worst)}; every case must reach {ratio(bar.worst_bar)}",
        start=min(one, end),
        width=round(abs(end - one), 2),
        tick=_place(bar.bar, top),
        one=one,
        good=bar.passed,
    )


def _bar_rows(bars: Sequence[BarResult], top: float) -> tuple[BarRow, ...]:
    rows = []
    for group in dict.fromkeys(bar.group for bar in bars):
        of = {bar.quantity: bar for bar in bars if bar.group == group}
        first = next(iter(of.values()))
        asked = (
            count(first.cases, "case") if first.cases == first.asked else f"{first.cases} of {first.asked}"
        )
        asked += possible(first)
        rows.append(BarRow(first.title, asked, _gauge(of.get("eager"), top), _gauge(of.get("compile"), top)))
    return tuple(rows)


def _memory_row(bar: BarResult) -> MemoryRow:
    width, tick = (round(min(100.0, 100 * value), 2) for value in (bar.value, bar.bar))
    return MemoryRow(bar.title, ratio(bar.value), ratio(bar.bar), width, tick, bar.passed)


def _sections(benchmark: Benchmark) -> tuple[OpSection, ...]:
    titles = dict.fromkeys(case.title for case in benchmark.cases)
    return tuple(
        OpSection(
            f"op-{i}", title, tuple(_row(case, benchmark) for case in benchmark.cases if case.title == title)
        )
        for i, title in enumerate(titles)
    )


def _row(case: CaseResult, benchmark: Benchmark) -> CaseRow:
    timed = [(side, side.milliseconds) for side in case.sides if side.milliseconds is not None]
    longest = max([time.high for _, time in timed] + [case.limit_ms or 0.0]) or 1.0

    def share(value: float) -> float:
        return round(100 * value / longest, 2)

    saved = ""
    if case.saved_bytes is not None and case.eager_saved_bytes:
        part = ratio(case.saved_bytes / case.eager_saved_bytes)
        saved = f"saves {size(case.saved_bytes)}, {part} of eager's {size(case.eager_saved_bytes)}"
    return CaseRow(
        shape=shape(case),
        particulars=particulars(case),
        bars=tuple(
            TimeBar(
                side.side,
                RIVALS[side.side],
                milliseconds(time.median),
                share(time.median),
                share(time.low),
                share(time.high),
                "" if side.ratio is None else ratio(side.ratio.median),
            )
            for side, time in timed
        ),
        limit=None if case.limit_ms is None else share(case.limit_ms),
        limit_label=""
        if case.times_limit is None or case.limit_ms is None
        else f"{number(case.times_limit, 2)} L, L = {milliseconds(case.limit_ms)}",
        saved=saved,
        slower=case.name in benchmark.slower,
        errors=tuple(f"{RIVALS[side.side]}: {side.error}" for side in case.sides if side.error),
        backend=case.backend,
    )


def _bandwidth(benchmark: Benchmark) -> Table:
    rows = tuple(
        (size(point.working_set), point.level, number(point.gigabytes_per_second))
        for point in benchmark.bandwidth
    )
    caption = "Copy bandwidth: bytes read and written per second over the size of source and target together."
    return Table(caption, ("working set", "held in", "GB/s"), rows, (True, False, True), collapsed=True)
