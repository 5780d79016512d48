"""The mean paired difference with its t interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from normwise._optional import require
from normwise.errors import ArgumentError, explain
from normwise.results import Interval


@dataclass(frozen=True)
class PairedEffect:
    """Mean and standard deviation (n − 1) of paired differences."""

    mean: float
    sd: float
    pairs: int

    def interval(self, level: float = 0.95) -> Interval:
        """Student's t interval: mean ± t·sd/√n; without ends for a single pair."""
        if self.pairs < 2:
            return Interval(None, None, level)
        half = t_quantile(0.5 + level / 2, self.pairs - 1) * self.sd / math.sqrt(self.pairs)
        return Interval(self.mean - half, self.mean + half, level)


def paired_effect(differences: Sequence[float]) -> PairedEffect:
    """Summarise paired differences.

    Raises:
        ArgumentError: there is no difference, or one is not finite.

    >>> effect = paired_effect([1.0, 2.0, 3.0])
    >>> effect.mean, effect.sd
    (2.0, 1.0)
    >>> round(effect.interval().low, 3)
    -0.484
    """
    n = len(differences)
    if n == 0 or not all(math.isfinite(d) for d in differences):
        raise ArgumentError(
            explain("paired_effect", "`differences` must be finite and at least one", repr(list(differences)))
        )
    mean = math.fsum(differences) / n
    sd = math.sqrt(math.fsum((d - mean) ** 2 for d in differences) / (n - 1)) if n > 1 else 0.0
    return PairedEffect(mean, sd, n)


@cache
def t_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's t distribution."""
    stats = require("scipy.stats", extra="compare", who="the statistics of compare")
    return float(stats.t.ppf(probability, degrees))


def exponential(interval: Interval) -> Interval:
    """The interval of a ratio from that of its logarithm.

    >>> exponential(Interval(0.0, None))
    Interval(low=1.0, high=None, level=0.95)
    """
    low, high = (None if end is None else math.exp(end) for end in (interval.low, interval.high))
    return Interval(low, high, interval.level)
