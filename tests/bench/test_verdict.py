from __future__ import annotations

import dataclasses

import pytest

from normwise.bench.bars import BARS, Bar
from normwise.bench.case import Case
from normwise.bench.verdict import judge, slower
from normwise.report.benchmark_words import bar_words
from normwise.results import CaseResult, SideResult, Spread

SMALL, LARGE = Case("dropout", (4, 4), group="g"), Case("dropout", (8, 8), group="g")
BAR = Bar("g", "a group", "eager", 2.0, native=3.0)


def result(case: Case, ratio: float | None, backend: str = "portable", saved: int = 40) -> CaseResult:
    side = SideResult("eager", None, None if ratio is None else Spread(ratio, ratio, ratio))
    return CaseResult(
        name=case.name,
        op=case.op,
        title=case.title,
        group=case.group,
        shape=case.shape,
        layout=case.layout,
        dtype=case.dtype,
        mode=case.mode,
        sides=(side,),
        bursts=3,
        limit_ms=None,
        times_limit=None,
        gigabytes_per_second=None,
        saved_bytes=saved,
        eager_saved_bytes=100,
        backend=backend,
    )


@pytest.mark.parametrize(
    ("ratios", "mean", "passed"),
    [
        ((2.0, 2.0), 2.0, True),
        ((1.8, 2.3), (1.8 * 2.3) ** 0.5, True),
        ((1.9, 1.9), 1.9, False),
        ((1.6, 9.0), (1.6 * 9.0) ** 0.5, False),  # the mean is reached, one shape is under .85 of the bar
    ],
)
def test_a_bar_is_for_the_mean_and_no_shape_may_be_far_below(
    ratios: tuple[float, float], mean: float, passed: bool
) -> None:
    results = [result(SMALL, ratios[0]), result(LARGE, ratios[1])]
    (bar,) = judge(results, [BAR], [SMALL, LARGE])
    assert bar.value == pytest.approx(mean)
    assert (bar.passed, bar.bar, bar.worst) == (passed, 2.0, min(ratios))
    assert bar.worst_bar == pytest.approx(1.7)
    assert bar.worst_case == (SMALL if ratios[0] <= ratios[1] else LARGE).name


def test_the_native_bar_counts_where_the_native_binding_ran_in_all_cases() -> None:
    both = [result(SMALL, 2.5, "native"), result(LARGE, 2.5, "native")]
    (bar,) = judge(both, [BAR], [SMALL, LARGE])
    assert (bar.bar, bar.passed) == (3.0, False)
    (bar,) = judge([both[0], result(LARGE, 2.5)], [BAR], [SMALL, LARGE])
    assert (bar.bar, bar.passed) == (2.0, True)


def test_a_bar_of_which_nothing_was_measured_is_left_out_and_a_part_says_so() -> None:
    assert judge([result(SMALL, None)], [BAR], [SMALL, LARGE]) == ()
    (bar,) = judge([result(SMALL, 2.5), result(LARGE, None)], [BAR], [SMALL, LARGE])
    assert (bar.cases, bar.asked) == (1, 2)


@pytest.mark.parametrize(("saved", "passed"), [((40, 40), True), ((20, 50), False), ((0, 40), True)])
def test_memory_has_a_ceiling_that_no_shape_may_pass(saved: tuple[int, int], passed: bool) -> None:
    ceiling = Bar("g", "memory", "memory", 0.4, worst=1.0)
    results = [result(SMALL, 1.0, saved=saved[0]), result(LARGE, 1.0, saved=saved[1])]
    (bar,) = judge(results, [ceiling], [SMALL, LARGE])
    assert bar.passed is passed
    assert bar.worst == pytest.approx(max(saved) / 100)


def test_slower_is_below_what_a_measurement_leaves_open() -> None:
    found = slower([result(SMALL, 0.96), result(LARGE, 0.94), result(SMALL, None)])
    assert found == (LARGE.name,)


def test_no_bar_is_lower_for_the_faster_binding() -> None:
    assert all(bar.native is None or bar.native > bar.portable for bar in BARS)


def test_what_is_possible_is_known_where_every_step_has_it() -> None:
    steps = [
        dataclasses.replace(result(SMALL, 1.2), most=2.0),
        dataclasses.replace(result(LARGE, 1.3), most=4.5),
    ]
    (bar,) = judge(steps, [BAR], [SMALL, LARGE])
    assert bar.most == pytest.approx(3.0)
    assert "(3.0× at most possible)" in bar_words(bar)
    (bar,) = judge([steps[0], result(LARGE, 1.3)], [BAR], [SMALL, LARGE])
    assert bar.most is None
