import pytest
from scipy import stats as scipy_stats

from normwise.compare.stats import probability_of_superiority, wilson
from normwise.errors import ArgumentError


@pytest.mark.parametrize(("successes", "n"), [(0, 5), (5, 5), (3, 10), (37, 50)])
def test_wilson_is_scipys(successes: int, n: int) -> None:
    expected = scipy_stats.binomtest(successes, n).proportion_ci(method="wilson")
    interval = wilson(successes, n)
    assert interval.low == pytest.approx(expected.low, abs=1e-12)
    assert interval.high == pytest.approx(expected.high, abs=1e-12)


def test_no_runs_say_nothing() -> None:
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5), (0, -1)])
def test_impossible_counts_are_errors(successes: int, n: int) -> None:
    with pytest.raises(ArgumentError, match="between 0 and"):
        wilson(successes, n)


def test_a_tie_is_half_a_win() -> None:
    assert probability_of_superiority([0.0, 0.0])[0] == 0.5
    assert probability_of_superiority([1.0, -1.0, 0.0, 2.0])[0] == 0.625
