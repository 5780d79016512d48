import numpy as np

from normwise.compare.stats import decide, paired_effect, seeds_needed, smallest_detectable


def test_four_in_five_runs_find_the_smallest_detectable_difference() -> None:
    difference = smallest_detectable(1.0, 10)
    assert difference is not None
    draws = np.random.default_rng(1).normal(difference, 1.0, (2000, 10))
    found = np.mean([decide(row.tolist(), comparisons=1, margin=0.0).verdict == "yes" for row in draws])
    assert 0.74 <= found <= 0.86


def test_one_pair_detects_nothing() -> None:
    assert smallest_detectable(1.0, 1) is None
    assert seeds_needed(paired_effect([1.0])) is None


def test_a_tiny_effect_with_a_wide_spread_has_no_affordable_number_of_seeds() -> None:
    assert seeds_needed(paired_effect([10.0, -10.0, 10.0, -9.9]), margin=0.0) is None


def test_within_the_margin_it_counts_the_seeds_for_equivalence() -> None:
    n = seeds_needed(paired_effect([0.4, -0.4, 0.3, -0.3]), margin=0.2)
    assert n is not None
    assert n > 4
