from __future__ import annotations

from typing import Any

import pytest

from normwise.compare.analysis.more_seeds import MOST_SEEDS, more_seeds, with_seeds
from normwise.results import Claim, Estimate, Interval


class _Setting:
    def __init__(self, *claims: Claim) -> None:
        self.claims = claims


def claim(name: str, variant: str, needed: int | None, verdict: str = "undecided") -> Claim:
    effect = Estimate(1.0, Interval(-1.0, 3.0), 5, "pp")
    return Claim(name, variant, verdict, "", effect, seeds_needed=needed)  # type: ignore[arg-type]


def propose(*claims: Claim) -> Any:
    return more_seeds([_Setting(*claims)], "normwise compare wine")  # type: ignore[list-item]


def test_the_fewest_seeds_that_decide_a_test_metric_are_proposed() -> None:
    found = propose(
        claim("faster", "layer", 6),
        claim("generalizes", "batch", 40),
        claim("generalizes", "layer", 12),
        claim("generalizes", "rms", 3, verdict="yes"),
    )
    assert (found.seeds, found.command) == (12, "normwise compare wine --seeds 12")
    assert found.decides == ("generalizes: layer", "faster: layer")


def test_nothing_is_proposed_where_seeds_do_not_help() -> None:
    assert propose(claim("generalizes", "batch", None)) is None
    assert propose(claim("generalizes", "batch", MOST_SEEDS + 1)) is None
    assert propose(claim("larger_learning_rates", "batch", 8)) is None  # those are pairs of the scan
    assert propose() is None


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("normwise compare 'my data.csv' --target y", "normwise compare 'my data.csv' --target y --seeds 9"),
        ("normwise compare --seeds=5 wine --thorough", "normwise compare wine --seeds 9"),
        ("normwise compare wine --quick --json", "normwise compare wine --json --seeds 9"),
    ],
)
def test_the_command_asks_the_same_with_other_seeds(command: str, expected: str) -> None:
    assert with_seeds(command, 9) == expected
