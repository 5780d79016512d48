"""Keeps gradients alive: how level the gradient is over depth."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

from normwise.compare.analysis.claims.line import line, not_measured
from normwise.compare.analysis.curves import first_signals, last_signals, slope
from normwise.compare.analysis.evidence import Evidence, Records
from normwise.compare.stats import decide
from normwise.compare.variant import Variant
from normwise.results import Claim, LayerSignals, TrialRecord

GRADIENT_MARGIN = math.log10(1.1)
"""A tenth per layer of the squared gradient counts as level."""


def gradients(evidence: Evidence, variant: Variant, margin: float) -> Claim:
    """How far the gradient is from level over depth before training, in decades per layer, over all initialisations.

    Distance from level counts in both directions: a gradient that grows towards the input is as far off as one that
    fades.
    """
    base, mine = (_departures(evidence, w) for w in (evidence.baseline, variant))
    both = [(b, v) for b, v in zip(base, mine, strict=True) if b is not None and v is not None]
    if not both:
        return not_measured(
            "gradients", variant, "decades per layer", "a slope needs three hidden layers with a gradient"
        )
    decision = decide([b - v for b, v in both], comparisons=evidence.comparisons, margin=GRADIENT_MARGIN)
    more: dict[str, float | None] = {}
    for who, name in ((evidence.baseline, "baseline"), (variant, "variant")):
        spec = evidence.plan.spec
        for asked, init in zip(spec.initializations, spec.initializations_of(who), strict=True):
            records = evidence.tuned(who, init)
            more[f"{name}_start {asked.name}"] = _mean_slope(records, first_signals)
            more[f"{name}_end {asked.name}"] = _mean_slope(records, last_signals)
    return line(
        "gradients",
        variant,
        decision,
        unit="decades per layer",
        baseline=statistics.fmean(b for b, _ in both),
        value=statistics.fmean(v for _, v in both),
        evidence=more,
    )


def _departures(evidence: Evidence, variant: Variant) -> list[float | None]:
    by_init = [evidence.tuned(variant, init) for init in evidence.plan.spec.initializations_of(variant)]
    departures: list[float | None] = []
    for seed_records in zip(*by_init, strict=True):
        factors = [None if r is None else slope(first_signals(r), r.sizes) for r in seed_records]
        logs = [abs(math.log10(factor)) for factor in factors if factor is not None]
        departures.append(statistics.fmean(logs) if len(logs) == len(factors) else None)
    return departures


def _mean_slope(records: Records, when: Callable[[TrialRecord], LayerSignals | None]) -> float | None:
    found = [slope(when(record), record.sizes) for record in records if record is not None]
    known = [math.log(factor) for factor in found if factor is not None]
    return math.exp(statistics.fmean(known)) if known else None
