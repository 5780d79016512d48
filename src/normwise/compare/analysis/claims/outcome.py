"""What comes out: the test metric, and the gap to the training metric."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from normwise.compare.analysis.claims.line import line, not_measured
from normwise.compare.analysis.evidence import Evidence, pairs
from normwise.compare.stats import decide
from normwise.compare.variant import Variant
from normwise.results import Claim, ClaimName, TrialRecord


def generalizes(evidence: Evidence, variant: Variant, margin: float) -> Claim:
    """The test metric, each at its tuned learning rate."""
    sign = evidence.measure.sign
    return _paired_metric(
        "generalizes", evidence, variant, margin, lambda r: evidence.measure.settled(r, "test"), sign
    )


def regularizes(evidence: Evidence, variant: Variant, margin: float) -> Claim:
    """The gap between train and test; a smaller one is "better" here, whatever the test metric does."""
    return _paired_metric("regularizes", evidence, variant, margin, lambda r: gap_of(evidence, r), -1)


def gap_of(evidence: Evidence, record: TrialRecord) -> float | None:
    """Train minus test, signed so that positive is overfitting."""
    train, test = (evidence.measure.settled(record, part) for part in ("train", "test"))
    return None if train is None or test is None else evidence.measure.sign * (train - test)


def nothing_trained(found: list[tuple[TrialRecord, TrialRecord]]) -> bool:
    """Whether there is no run to compare but untrained networks with untrained networks."""
    return bool(found) and all(r.outcome == "diverged" for pair in found for r in pair)


def _paired_metric(
    claim: ClaimName,
    evidence: Evidence,
    variant: Variant,
    margin: float,
    read: Callable[[TrialRecord], float | None],
    sign: int,
) -> Claim:
    unit = evidence.measure.difference_unit
    found = pairs(evidence.tuned(evidence.baseline), evidence.tuned(variant))
    if nothing_trained(found):
        return not_measured(claim, variant, unit, "every run of both diverged")
    sides = [(read(b), read(v)) for b, v in found]
    both = [(b, v) for b, v in sides if b is not None and v is not None]
    if not both:
        return not_measured(claim, variant, unit, "no pair of finished runs")
    decision = decide([sign * (v - b) for b, v in both], comparisons=evidence.comparisons, margin=margin)
    return line(
        claim,
        variant,
        decision,
        unit=unit,
        baseline=statistics.fmean(b for b, _ in both),
        value=statistics.fmean(v for _, v in both),
    )
