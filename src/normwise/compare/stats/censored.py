"""Times to a target when some runs never reach it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from normwise.compare.stats.paired import PairedEffect, paired_effect


@dataclass(frozen=True)
class RestrictedRatio:
    """log(baseline time / variant time) over pairs, times restricted to the horizon.

    `bound` says on which side of the number the uncensored ratio lies: "at least" if only the baseline was cut off,
    "at most" if only the variant was, "" if neither was, "mixed" if both were.
    """

    effect: PairedEffect
    differences: tuple[float, ...]
    baseline_missed: int
    variant_missed: int
    bound: str


def restricted_log_ratio(
    baseline: Sequence[float | None], variant: Sequence[float | None], horizon: Sequence[tuple[float, float]]
) -> RestrictedRatio:
    """Compare paired times to a target, right-censored at the end of each run (None).

    What is compared are restricted times min(T, horizon), as in a restricted mean survival time: every run has one, so
    none is dropped, and the t interval of their ratio is an ordinary one. Of the unrestricted ratio it is a bound, on
    the side that `bound` names, and says nothing about the other side.

    Args:
        baseline: time of each baseline run, None where the target was not reached.
        variant: the same for the paired variant run.
        horizon: for each pair the length of the baseline run and of the variant run.

    >>> result = restricted_log_ratio([None, 80.0], [50.0, 40.0], [(100.0, 100.0)] * 2)
    >>> round(math.exp(result.effect.mean), 3), result.bound
    (2.0, 'at least')
    """
    differences = tuple(
        math.log((end_b if b is None else b) / (end_v if v is None else v))
        for b, v, (end_b, end_v) in zip(baseline, variant, horizon, strict=True)
    )
    missed_b = sum(time is None for time in baseline)
    missed_v = sum(time is None for time in variant)
    bound = {(False, False): "", (True, False): "at least", (False, True): "at most", (True, True): "mixed"}[
        (missed_b > 0, missed_v > 0)
    ]
    return RestrictedRatio(paired_effect(differences), differences, missed_b, missed_v, bound)
