import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from normwise.compare.stats import paired_effect
from normwise.errors import ArgumentError


@pytest.mark.parametrize("pairs", [2, 5, 17])
def test_the_interval_is_scipys(pairs: int) -> None:
    differences = np.random.default_rng(pairs).normal(1.0, 2.0, pairs)
    expected = scipy_stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
    interval = paired_effect(differences.tolist()).interval()
    assert interval.low == pytest.approx(expected.low)
    assert interval.high == pytest.approx(expected.high)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0).normal(0.7, 1.0, (2000, 5))
    inside = [paired_effect(row.tolist()).interval() for row in draws]
    covered = np.mean([i.low <= 0.7 <= i.high for i in inside])
    assert 0.935 <= covered <= 0.965


def test_one_pair_has_no_interval() -> None:
    interval = paired_effect([1.0]).interval()
    assert interval.low is None
    assert interval.high is None


@pytest.mark.parametrize("differences", [[], [1.0, math.nan], [math.inf]])
def test_nothing_to_average_is_an_error(differences: list[float]) -> None:
    with pytest.raises(ArgumentError, match="finite and at least one"):
        paired_effect(differences)
