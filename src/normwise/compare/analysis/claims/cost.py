"""Costs time per step."""

from __future__ import annotations

import math

from normwise.compare.analysis.claims.line import line, not_measured
from normwise.compare.analysis.evidence import Evidence
from normwise.compare.cost import cost_result
from normwise.compare.stats import decide
from normwise.compare.variant import Variant
from normwise.results import Claim

COST_MARGIN = math.log(1.05)
"""A twentieth more or less time counts as no difference."""


def cost(evidence: Evidence, variant: Variant, margin: float) -> Claim:
    """Time of a training step, burst by burst; "yes" means that it costs more."""
    if evidence.cost is None:
        return not_measured("cost", variant, "x", "no step times were taken")
    of = dict(zip(evidence.cost.variants, evidence.cost.bursts, strict=True))
    baseline = of[evidence.plan.baseline]
    logs = [math.log(v / b) for v, b in zip(of[variant.name], baseline, strict=True)]
    decision = decide(logs, comparisons=evidence.comparisons, margin=COST_MARGIN)
    result = cost_result(evidence.cost, variant.name, evidence.plan.baseline)
    reference = cost_result(evidence.cost, evidence.plan.baseline, evidence.plan.baseline)
    return line(
        "cost",
        variant,
        decision,
        unit="x",
        ratio=True,
        baseline=reference.milliseconds,
        value=result.milliseconds,
    )
