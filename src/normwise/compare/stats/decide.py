"""One rule that turns paired differences into a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from normwise.compare.stats.paired import paired_effect
from normwise.compare.stats.power import seeds_needed, smallest_detectable
from normwise.compare.stats.proportion import probability_of_superiority
from normwise.results import Interval, Strength, Verdict

MEANINGFUL_PAIRS = 10
MEANINGFUL_SUPERIORITY = 0.75


@dataclass(frozen=True)
class Decision:
    """A verdict and the numbers behind it."""

    verdict: Verdict
    strength: Strength
    mean: float
    interval: Interval  # 95 %, of this difference alone
    family_interval: Interval  # widened for the number of comparisons; the verdict reads this one
    superiority: float
    superiority_interval: Interval
    differences: tuple[float, ...]
    smallest_detectable: float | None
    seeds_needed: int | None

    @property
    def pairs(self) -> int:
        """The number of pairs."""
        return len(self.differences)


def decide(differences: Sequence[float], *, comparisons: int, margin: float, alpha: float = 0.05) -> Decision:
    """Decide whether paired differences (positive: the variant does better) say yes, no, or nothing yet.

    - "yes" or "no": the t interval at level 1 − alpha/comparisons (Bonferroni) lies on one side of zero, so that
      over all comparisons of the family a null difference is called one in at most `alpha` of runs.
    - "no difference": the 95 % interval lies within ± margin. It takes precedence: a difference that small does
      not matter.
    - "undecided": anything else.
    - "meaningful" from ten pairs on if moreover the variant wins (or loses) at least 75 % of the pairs; else "leaning".

    Caveat: a single pair, and two or more pairs that are all equal to the last bit, carry no estimate of spread; the
    first is undecided, the second is taken at its word.

    >>> decide([2.0, 2.2, 1.9, 2.1, 2.0], comparisons=5, margin=0.5).verdict
    'yes'
    >>> decide([2.0, -2.2, 1.9, -2.1, 2.0], comparisons=5, margin=0.5).verdict
    'undecided'
    """
    effect = paired_effect(differences)
    interval, family = effect.interval(1 - alpha), effect.interval(1 - alpha / max(1, comparisons))
    superiority, superiority_interval = probability_of_superiority(differences)
    verdict: Verdict = "undecided"
    strength: Strength = ""
    if effect.pairs > 1 and interval.low is not None and interval.high is not None:
        if family.low is not None and family.low > 0:
            verdict = "yes"
        elif family.high is not None and family.high < 0:
            verdict = "no"
        if -margin < interval.low and interval.high < margin:
            verdict = "no difference"
    if verdict in ("yes", "no"):
        wins = superiority if verdict == "yes" else 1 - superiority
        strong = effect.pairs >= MEANINGFUL_PAIRS and wins >= MEANINGFUL_SUPERIORITY
        strength = "meaningful" if strong else "leaning"
    elif verdict == "no difference":
        strength = "meaningful" if effect.pairs >= MEANINGFUL_PAIRS else "leaning"
    undecided = verdict == "undecided"
    return Decision(
        verdict,
        strength,
        effect.mean,
        interval,
        family,
        superiority,
        superiority_interval,
        tuple(differences),
        smallest_detectable(effect.sd, effect.pairs, comparisons=comparisons) if undecided else None,
        seeds_needed(effect, comparisons=comparisons, margin=margin) if undecided else None,
    )
