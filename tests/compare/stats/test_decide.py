import numpy as np
import pytest

from normwise.compare.stats import decide, family_wise_error


def test_a_clear_difference_is_yes_and_its_mirror_is_no() -> None:
    differences = [2.0, 2.2, 1.9, 2.1, 2.0]
    assert decide(differences, comparisons=6, margin=0.5).verdict == "yes"
    assert decide([-d for d in differences], comparisons=6, margin=0.5).verdict == "no"


def test_five_pairs_lean_and_ten_mean_it() -> None:
    five = np.random.default_rng(0).normal(3.0, 0.3, 5).tolist()
    ten = np.random.default_rng(0).normal(3.0, 0.3, 10).tolist()
    assert decide(five, comparisons=6, margin=0.5).strength == "leaning"
    assert decide(ten, comparisons=6, margin=0.5).strength == "meaningful"


def test_ten_pairs_that_win_too_seldom_only_lean() -> None:
    differences = [4.0] * 14 + [-0.5] * 6
    decision = decide(differences, comparisons=1, margin=0.1)
    assert decision.verdict == "yes"
    assert decision.superiority == 0.7
    assert decision.strength == "leaning"


def test_no_difference_needs_the_whole_interval_within_the_margin() -> None:
    inside = [0.01, -0.02, 0.03, 0.0, -0.01]
    assert decide(inside, comparisons=6, margin=0.5).verdict == "no difference"
    assert decide(inside, comparisons=6, margin=0.02).verdict == "undecided"


def test_undecided_says_what_could_have_been_seen_and_what_would_decide() -> None:
    decision = decide([1.0, -0.5, 1.5, 0.2, 0.6], comparisons=1, margin=0.1)
    assert decision.verdict == "undecided"
    assert decision.smallest_detectable is not None
    assert decision.smallest_detectable > abs(decision.mean)
    assert decision.seeds_needed == 17


def test_more_comparisons_make_the_verdict_harder_and_leave_the_interval_alone() -> None:
    differences = [1.0, 2.0, 0.5, 1.5, 0.8]
    alone, among = (decide(differences, comparisons=m, margin=0.1) for m in (1, 12))
    assert (alone.verdict, among.verdict) == ("yes", "undecided")
    assert alone.interval == among.interval


def test_a_single_pair_decides_nothing() -> None:
    decision = decide([100.0], comparisons=1, margin=0.1)
    assert decision.verdict == "undecided"
    assert decision.interval.low is None


@pytest.mark.parametrize("pairs", [3, 5, 10])
def test_the_family_wise_error_is_at_most_five_per_cent(pairs: int) -> None:
    # 1,500 null comparisons of six variants; the bound is three standard errors above .05.
    assert family_wise_error(pairs=pairs, comparisons=6, runs=1500) <= 0.05 + 3 * (0.05 * 0.95 / 1500) ** 0.5
