"""From measured cases to bars reached or missed, and to cases in which normwise's own choice loses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from normwise.bench.bars import BARS, SLOWER, Bar
from normwise.bench.case import Case
from normwise.bench.catalogue import CASES
from normwise.results import BarResult, CaseResult


def judge(
    results: Sequence[CaseResult], bars: Iterable[Bar] = BARS, catalogue: Sequence[Case] = CASES
) -> tuple[BarResult, ...]:
    """Return the result of every bar of whose cases at least one was measured."""
    found = (_judge(bar, results, catalogue) for bar in bars)
    return tuple(result for result in found if result is not None)


def slower(results: Iterable[CaseResult]) -> tuple[str, ...]:
    """Return the names of the cases in which eager is faster by more than what a measurement leaves open."""
    return tuple(result.name for result in results if (result.ratio("eager") or math.inf) < SLOWER)


def _judge(bar: Bar, results: Sequence[CaseResult], catalogue: Sequence[Case]) -> BarResult | None:
    group = [result for result in results if result.group == bar.group]
    values = {result.name: value for result in group if (value := _value(bar, result)) is not None}
    if not values:
        return None
    at_most = bar.quantity == "memory"
    native = bar.native is not None and all("native" in result.backend for result in group)
    floor = bar.native if native and bar.native is not None else bar.portable
    worst_bar = floor / bar.worst if at_most else floor * bar.worst
    worst_case = (max if at_most else min)(values, key=values.__getitem__)
    mean = math.exp(math.fsum(math.log(value) for value in values.values()) / len(values))
    worst = values[worst_case]
    passed = mean <= floor and worst <= worst_bar if at_most else mean >= floor and worst >= worst_bar
    return BarResult(
        group=bar.group,
        title=bar.title,
        quantity=bar.quantity,
        bar=floor,
        worst_bar=worst_bar,
        value=mean,
        worst=worst,
        worst_case=worst_case,
        cases=len(values),
        asked=sum(case.group == bar.group for case in catalogue),
        passed=passed,
        most=_most(group) if bar.quantity == "eager" else None,
    )


def _most(group: Sequence[CaseResult]) -> float | None:
    found = [result.most for result in group if result.most is not None]
    return math.exp(math.fsum(map(math.log, found)) / len(found)) if len(found) == len(group) else None


def _value(bar: Bar, result: CaseResult) -> float | None:
    if bar.quantity == "memory":
        if result.saved_bytes is None or not result.eager_saved_bytes:
            return None
        # Nothing saved at all is below any ceiling, and a logarithm needs a number.
        return max(result.saved_bytes, 1) / result.eager_saved_bytes
    return result.ratio(bar.quantity)
