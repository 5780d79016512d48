"""What so many pairs could have seen, and how many would decide."""

from __future__ import annotations

import bisect
import math

from normwise.compare.stats.paired import PairedEffect, t_quantile

MOST_SEEDS = 1000
POWER = 0.8


def smallest_detectable(sd: float, pairs: int, *, comparisons: int = 1, alpha: float = 0.05) -> float | None:
    """The smallest true difference that `pairs` pairs find four times in five; None for a single pair.

    (t_{1−α/2m, n−1} + t_{.8, n−1})·sd/√n, the usual approximation to the power of the t test.

    >>> round(smallest_detectable(1.0, 5), 2)
    1.66
    """
    if pairs < 2:
        return None
    critical = t_quantile(1 - alpha / (2 * max(1, comparisons)), pairs - 1)
    return (critical + t_quantile(POWER, pairs - 1)) * sd / math.sqrt(pairs)


def seeds_needed(
    effect: PairedEffect, *, comparisons: int = 1, margin: float = 0.0, alpha: float = 0.05
) -> int | None:
    """Pairs in all that would decide if mean and spread stay as they look; None if over a thousand or unknown.

    An effect beyond the margin is decided once it is detectable; one within it once the 95 % interval fits between the
    margins.

    >>> from normwise.compare.stats import paired_effect
    >>> seeds_needed(paired_effect([1.0, -0.5, 1.5, 0.2, 0.6]), margin=0.1)
    17
    """
    if effect.pairs < 2:
        return None

    def decides(n: int) -> bool:
        if abs(effect.mean) > margin:
            detectable = smallest_detectable(effect.sd, n, comparisons=comparisons, alpha=alpha)
            return detectable is not None and detectable <= abs(effect.mean)
        return t_quantile(1 - alpha / 2, n - 1) * effect.sd / math.sqrt(n) < margin - abs(effect.mean)

    # More pairs always decide more, so the first number that decides is found by halving.
    candidates = range(effect.pairs + 1, MOST_SEEDS + 1)
    first = bisect.bisect_left(candidates, True, key=decides)
    return candidates[first] if first < len(candidates) else None
