"""Indifferent to the initialization: spread of the result over its scales."""

from __future__ import annotations

import statistics

from normwise.compare.analysis.claims.line import line, not_measured
from normwise.compare.analysis.claims.outcome import nothing_trained
from normwise.compare.analysis.evidence import Evidence, pairs
from normwise.compare.stats import decide
from normwise.compare.variant import Variant
from normwise.results import Claim


def initialization(evidence: Evidence, variant: Variant, margin: float) -> Claim:
    """Standard deviation of the test metric over initialisations, per seed; a smaller one is better."""
    others = evidence.plan.spec.initializations
    unit = evidence.measure.difference_unit
    if len(others) < 2:
        return not_measured("initialization", variant, unit, "one initialization shows no spread")
    if nothing_trained(pairs(evidence.tuned(evidence.baseline), evidence.tuned(variant))):
        return not_measured("initialization", variant, unit, "every run of both diverged")
    base, mine = (_spreads(evidence, w) for w in (evidence.baseline, variant))
    both = [(b, v) for b, v in zip(base, mine, strict=True) if b is not None and v is not None]
    if not both:
        return not_measured("initialization", variant, unit, "no pair of finished runs")
    decision = decide([b - v for b, v in both], comparisons=evidence.comparisons, margin=margin)
    return line(
        "initialization",
        variant,
        decision,
        unit=unit,
        baseline=statistics.median(b for b, _ in both),
        value=statistics.median(v for _, v in both),
    )


def _spreads(evidence: Evidence, variant: Variant) -> list[float | None]:
    by_init = [evidence.tuned(variant, init) for init in evidence.plan.spec.initializations_of(variant)]
    spreads: list[float | None] = []
    for seed_records in zip(*by_init, strict=True):
        values = [None if r is None else evidence.measure.settled(r, "test") for r in seed_records]
        known = [value for value in values if value is not None]
        spreads.append(statistics.stdev(known) if len(known) == len(values) else None)
    return spreads
