import math

import pytest

from normwise.compare.stats import restricted_log_ratio

HORIZON = (100.0, 100.0)


def test_without_censoring_it_is_the_log_ratio() -> None:
    result = restricted_log_ratio([80.0, 60.0], [40.0, 30.0], [HORIZON] * 2)
    assert result.effect.mean == pytest.approx(math.log(2))
    assert result.effect.sd == pytest.approx(0.0, abs=1e-12)
    assert result.bound == ""


@pytest.mark.parametrize(
    ("baseline", "variant", "bound"),
    [
        ([None, 50.0], [50.0, 50.0], "at least"),
        ([50.0, 50.0], [None, 50.0], "at most"),
        ([None, 50.0], [50.0, None], "mixed"),
    ],
)
def test_the_bound_names_the_side_that_was_cut(
    baseline: list[float | None], variant: list[float | None], bound: str
) -> None:
    assert restricted_log_ratio(baseline, variant, [HORIZON] * 2).bound == bound


def test_a_missed_run_counts_with_its_whole_length_and_is_never_dropped() -> None:
    result = restricted_log_ratio([None], [25.0], [HORIZON])
    assert result.effect.pairs == 1
    assert result.effect.mean == pytest.approx(math.log(4))
    assert (result.baseline_missed, result.variant_missed) == (1, 0)


def test_two_missed_runs_are_a_draw() -> None:
    assert restricted_log_ratio([None], [None], [HORIZON]).effect.mean == 0.0
