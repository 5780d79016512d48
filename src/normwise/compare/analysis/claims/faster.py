"""Converges faster: time to a target fixed beforehand, right-censored."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

from normwise.compare.analysis.claims.line import line, not_measured
from normwise.compare.analysis.evidence import Evidence, Records, pairs
from normwise.compare.stats import Decision, decide, exponential, restricted_log_ratio
from normwise.compare.variant import Variant
from normwise.results import Claim, TrialRecord

SPEED_MARGIN = math.log(1.1)
"""A tenth more or fewer steps counts as no difference."""

Clock = Callable[[TrialRecord], tuple[float | None, float]]
"""Time to the target (None where it was missed) and the length of the run."""


def faster(evidence: Evidence, variant: Variant, margin: float) -> Claim:
    """Fewer steps to the target, each at its own tuned learning rate."""
    target = evidence.tuning.target
    if target is None:
        return not_measured("faster", variant, "x", evidence.tuning.target_reason)
    tuned = _speed_up(
        evidence, evidence.tuned(evidence.baseline), evidence.tuned(variant), _steps_clock(evidence, target)
    )
    if tuned is None:
        return not_measured("faster", variant, "x", "no pair of finished runs")
    decision, bound, missed_b, missed_v = tuned
    if missed_b == missed_v == decision.pairs:
        return not_measured("faster", variant, "x", "no run of either reached the target")
    seconds = _speed_up(
        evidence, evidence.tuned(evidence.baseline), evidence.tuned(variant), _seconds_clock(evidence, target)
    )
    fixed = _speed_up(
        evidence, evidence.fixed(evidence.baseline), evidence.fixed(variant), _steps_clock(evidence, target)
    )
    quickest_b, quickest_v = evidence.fastest(evidence.baseline), evidence.fastest(variant)
    quickest = (
        None
        if quickest_b is None or quickest_v is None
        else _speed_up(evidence, quickest_b, quickest_v, _steps_clock(evidence, target))
    )
    verdict, reason = decision.verdict, ""
    # A run that missed the target is slower than its number says: it can take a "faster" away, never give it.
    if missed_v and verdict in ("yes", "no difference"):
        verdict, reason = "undecided", f"{missed_v} of {decision.pairs} runs never reached the target"
    elif missed_b and verdict in ("no", "no difference"):
        verdict, reason = (
            "undecided",
            f"{missed_b} of {decision.pairs} baseline runs never reached the target",
        )
    more: dict[str, float | None] = {"baseline_missed": float(missed_b), "variant_missed": float(missed_v)}
    for name, result in (("seconds", seconds), ("fixed", fixed), ("fastest", quickest)):
        more[f"{name}_ratio"] = None if result is None else math.exp(result[0].mean)
        inside = None if result is None else exponential(result[0].interval)
        more[f"{name}_low"] = None if inside is None else inside.low
        more[f"{name}_high"] = None if inside is None else inside.high
    shown = bound if bound in ("at least", "at most") else ""
    return line(
        "faster",
        variant,
        decision,
        unit="x",
        ratio=True,
        bound=shown,
        verdict=verdict,
        reason=reason,
        baseline=_median_time(evidence, evidence.tuned(evidence.baseline), target),
        value=_median_time(evidence, evidence.tuned(variant), target),
        evidence=more,
    )


def _steps_clock(evidence: Evidence, target: float) -> Clock:
    return lambda record: (evidence.measure.steps_to(record, target), float(evidence.plan.ground.steps))


def _seconds_clock(evidence: Evidence, target: float) -> Clock:
    def clock(record: TrialRecord) -> tuple[float | None, float]:
        last = record.evaluations[-1]
        # A run that diverged broke off early: it is charged for all its steps, or it would look quick.
        whole = last.seconds / max(1, last.step) * evidence.plan.ground.steps
        return evidence.measure.seconds_to(record, target), whole

    return clock


def _speed_up(
    evidence: Evidence, baseline: Records, variant: Records, clock: Clock
) -> tuple[Decision, str, int, int] | None:
    paired = pairs(baseline, variant)
    if not paired:
        return None
    sides = [(clock(b), clock(v)) for b, v in paired]
    ratio = restricted_log_ratio(
        [b[0] for b, _ in sides], [v[0] for _, v in sides], [(b[1], v[1]) for b, v in sides]
    )
    decision = decide(ratio.differences, comparisons=evidence.comparisons, margin=SPEED_MARGIN)
    return decision, ratio.bound, ratio.baseline_missed, ratio.variant_missed


def _median_time(evidence: Evidence, records: Records, target: float) -> float | None:
    times = [evidence.measure.steps_to(record, target) for record in records if record is not None]
    middle = statistics.median(math.inf if time is None else time for time in times) if times else math.inf
    return None if math.isinf(middle) else middle
