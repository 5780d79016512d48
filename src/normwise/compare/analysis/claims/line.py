"""A decision put into a line of the answer."""

from __future__ import annotations

import math

from normwise.compare.stats import Decision, exponential, sign_flip_p
from normwise.compare.variant import Variant
from normwise.results import Claim, ClaimName, Estimate, Interval, Verdict


def line(
    claim: ClaimName,
    variant: Variant,
    decision: Decision,
    *,
    unit: str,
    ratio: bool = False,
    bound: str = "",
    verdict: Verdict | None = None,
    reason: str = "",
    baseline: float | None = None,
    value: float | None = None,
    evidence: dict[str, float | None] | None = None,
) -> Claim:
    """Put a decision into a line; `ratio` says that differences were of logarithms."""
    final = verdict or decision.verdict
    mean, interval, family = decision.mean, decision.interval, decision.family_interval
    if ratio:
        mean, interval, family = math.exp(mean), exponential(interval), exponential(family)
    # Beyond a bound nothing was seen, so that the interval has no end there.
    if bound == "at least":
        interval = Interval(interval.low, None, interval.level)
    elif bound == "at most":
        interval = Interval(None, interval.high, interval.level)
    detectable = decision.smallest_detectable
    if detectable is not None and ratio:
        detectable = math.exp(detectable)
    return Claim(
        claim=claim,
        variant=variant.name,
        verdict=final,
        strength=decision.strength if final == decision.verdict else "",
        effect=Estimate(mean, interval, decision.pairs, unit, bound),
        baseline_value=baseline,
        variant_value=value,
        evidence={
            "probability_of_superiority": decision.superiority,
            "superiority_low": decision.superiority_interval.low,
            "superiority_high": decision.superiority_interval.high,
            "family_low": family.low,
            "family_high": family.high,
            "sign_flip_p": sign_flip_p(decision.differences),
        }
        | (evidence or {}),
        smallest_detectable=detectable,
        seeds_needed=decision.seeds_needed,
        reason=reason,
    )


def not_measured(claim: ClaimName, variant: Variant, unit: str, reason: str) -> Claim:
    """A line that says why there is no number."""
    nothing = Estimate(None, Interval(None, None), 0, unit)
    return Claim(claim, variant.name, "not measured", "", nothing, reason=reason)
