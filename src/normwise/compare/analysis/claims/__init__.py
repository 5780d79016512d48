"""One file per claim: paired differences, then one rule for all of them (`stats.decide`)."""

from __future__ import annotations

import dataclasses

from normwise.compare.analysis.claims.cost import cost
from normwise.compare.analysis.claims.faster import faster
from normwise.compare.analysis.claims.gradients import gradients
from normwise.compare.analysis.claims.initialization import initialization
from normwise.compare.analysis.claims.learning_rates import larger_learning_rates
from normwise.compare.analysis.claims.outcome import gap_of, generalizes, regularizes
from normwise.compare.analysis.evidence import Evidence
from normwise.compare.stats import holm
from normwise.results import Claim

__all__ = ["claims", "gap_of"]


def claims(evidence: Evidence, margin: float) -> tuple[Claim, ...]:
    """Every claim for every variant but the baseline; sign-flip p-values adjusted within each claim."""
    found: list[Claim] = []
    for claim in (faster, larger_learning_rates, initialization, gradients, generalizes, regularizes, cost):
        lines = [
            claim(evidence, variant, margin)
            for variant in evidence.plan.variants
            if variant != evidence.baseline
        ]
        found += _with_holm(lines)
    return tuple(_without_verdict(line) if evidence.exploratory else line for line in found)


def _without_verdict(line: Claim) -> Claim:
    """The number of a first look, for which nothing is claimed."""
    if line.verdict == "not measured":
        return line
    return dataclasses.replace(
        line, verdict="exploratory", strength="", smallest_detectable=None, seeds_needed=None
    )


def _with_holm(lines: list[Claim]) -> list[Claim]:
    tested = [line for line in lines if (line.evidence or {}).get("sign_flip_p") is not None]
    adjusted = holm([float((line.evidence or {})["sign_flip_p"] or 0.0) for line in tested])
    table = {line.variant: p for line, p in zip(tested, adjusted, strict=True)}
    return [
        dataclasses.replace(line, evidence=(line.evidence or {}) | {"holm_p": table[line.variant]})
        if line.variant in table
        else line
        for line in lines
    ]
