"""Rates and probabilities with Wilson's score interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from normwise.errors import ArgumentError, explain
from normwise.results import Interval


def wilson(successes: float, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a binomial proportion (Wilson 1927); [0, 1] for n = 0.

    `successes` may be fractional: a tie counts as half a success.

    >>> interval = wilson(0, 5)
    >>> round(interval.low, 3), round(interval.high, 3)
    (0.0, 0.434)
    """
    if n < 0 or not 0 <= successes <= n:
        raise ArgumentError(
            explain("wilson", "`successes` must lie between 0 and `n`", f"{successes} of {n}")
        )
    if n == 0:
        return Interval(0.0, 1.0, level)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Interval(max(0.0, centre - half), min(1.0, centre + half), level)


def probability_of_superiority(differences: Sequence[float]) -> tuple[float, Interval]:
    """P(A > B) over paired runs, ties as one half, with Wilson's interval (Bouthillier et al. 2021).

    >>> probability_of_superiority([1.0, 2.0, 0.0, -1.0])[0]
    0.625
    """
    wins = sum(1.0 if d > 0 else 0.5 if d == 0 else 0.0 for d in differences)
    if not differences:
        raise ArgumentError(explain("probability_of_superiority", "there must be at least one pair", "none"))
    return wins / len(differences), wilson(wins, len(differences))
