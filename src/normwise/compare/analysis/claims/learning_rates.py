"""Tolerates larger learning rates: how far up the grid a variant still works."""

from __future__ import annotations

import math
import statistics

from normwise.compare.analysis.claims.line import line, not_measured
from normwise.compare.analysis.evidence import Evidence
from normwise.compare.stats import decide
from normwise.compare.variant import Variant
from normwise.results import Claim

RATE_MARGIN = 0.25
"""A quarter of a decade of learning rates counts as no difference."""

RATE_TOLERANCE = 2.0
RATE_RELATIVE_TOLERANCE = 0.05
"""A learning rate is usable if it ends within two margins (or 5 % of the error) of the variant's own best one."""


def larger_learning_rates(evidence: Evidence, variant: Variant, margin: float) -> Claim:
    """The largest learning rate that still ends near the variant's own best one, in decades, per scan seed."""
    grid = evidence.tuning.grid
    if len(grid) < 2:
        return not_measured("larger_learning_rates", variant, "decades", "one learning rate shows no range")
    sides = []
    for i in range(len(evidence.plan.scan_seeds)):
        b, v = (_largest_usable(evidence, w, i) for w in (evidence.baseline, variant))
        if b is not None and v is not None:
            sides.append((b, v))
    if not sides:
        return not_measured(
            "larger_learning_rates", variant, "decades", "no learning rate gave a finite result"
        )
    decision = decide([v - b for b, v in sides], comparisons=evidence.comparisons, margin=RATE_MARGIN)
    top = math.log10(grid[-1])
    base, mine = (statistics.fmean(side) for side in zip(*sides, strict=True))
    at_top = (base >= top, mine >= top)
    bound = {(False, True): "at least", (True, False): "at most"}.get(at_top, "")
    verdict, reason = decision.verdict, ""
    if all(at_top):
        verdict, reason = "undecided", "both still work at the largest learning rate tried"
    return line(
        "larger_learning_rates",
        variant,
        decision,
        unit="decades",
        bound=bound,
        verdict=verdict,
        reason=reason,
        baseline=10**base,
        value=10**mine,
    )


def _largest_usable(evidence: Evidence, variant: Variant, seed_index: int) -> float | None:
    """log10 of the learning rate, between grid points where the metric (linear over log lr) leaves the tolerance."""
    sign, grid = evidence.measure.sign, evidence.tuning.grid
    scores: list[float | None] = []
    for lr in grid:
        record = evidence.scanned(variant, lr)[seed_index]
        value = None if record is None else evidence.measure.final(record, "validation")
        scores.append(None if value is None else sign * value)
    known = [score for score in scores if score is not None]
    if not known:
        return None
    best = max(known)
    margin = evidence.measure.margin
    tolerance = RATE_RELATIVE_TOLERANCE * abs(best) if margin is None else RATE_TOLERANCE * margin
    usable = best - tolerance
    for i in reversed(range(len(grid))):
        score = scores[i]
        if score is None or score < usable:
            continue
        here = math.log10(grid[i])
        following = scores[i + 1] if i + 1 < len(grid) else None
        if following is None:
            return here
        return here + (score - usable) / (score - following) * (math.log10(grid[i + 1]) - here)
    return None
