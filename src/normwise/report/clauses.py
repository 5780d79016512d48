"""Halves of sentences: what a variant does, said without its name, with the number in brackets."""

from __future__ import annotations

from dataclasses import dataclass

from normwise.report.numbers import bare, learning_rate, listing, quantity, ratio
from normwise.results import Claim, ClaimName, DataSummary, Setting, Verdict

GAINS: tuple[ClaimName, ...] = (
    "faster",
    "larger_learning_rates",
    "generalizes",
    "initialization",
    "regularizes",
    "gradients",
)
"""The claims of a benefit, the most practical first."""

_FELT: tuple[ClaimName, ...] = GAINS[:-1]
"""What a user notices; level gradients are a reason for it, and told only where there is nothing else."""

_MOST = 3
"""A sentence with more facts than this is not read to its end."""


@dataclass(frozen=True)
class Clause:
    """A verb with its object, the number that stands in brackets, and whether it only leans."""

    words: str
    inside: str
    leaning: bool

    def text(self, *, mark: bool) -> str:
        """Return the clause; `mark` adds "leaning" to its brackets where it leans."""
        parts = [part for part in (self.inside, "leaning" if mark and self.leaning else "") if part]
        return f"{self.words} ({'; '.join(parts)})" if parts else self.words


def of_variant(setting: Setting, variant: str) -> dict[ClaimName, Claim]:
    """Return the claims of one variant by name."""
    return {claim.claim: claim for claim in setting.claims if claim.variant == variant}


def gains(claims: dict[ClaimName, Claim], data: DataSummary) -> list[Clause]:
    """Return what a variant is shown to do better, at most three things."""
    found = _decided(claims, "yes")
    return [Clause(*_gain(claim, data), claim.strength == "leaning") for claim in found]


def losses(claims: dict[ClaimName, Claim], data: DataSummary) -> list[Clause]:
    """Return what a variant is shown to do worse, at most three things."""
    found = _decided(claims, "no")
    return [Clause(*_loss(claim, data), claim.strength == "leaning") for claim in found]


def _decided(claims: dict[ClaimName, Claim], verdict: Verdict) -> list[Claim]:
    felt = [claims[name] for name in _FELT if name in claims and claims[name].verdict == verdict]
    gradients = claims.get("gradients")
    others = any(claims[name].verdict in ("yes", "no") for name in _FELT if name in claims)
    if not others and gradients is not None and gradients.verdict == verdict:
        return [gradients]
    return felt[:_MOST]


def told(clauses: list[Clause], *, mark: bool) -> str:
    """Join clauses as a sentence does."""
    return listing([clause.text(mark=mark) for clause in clauses])


def price(claims: dict[ClaimName, Claim]) -> str:
    """Say what a step costs more; "" where that is not shown or hardly anything."""
    claim = claims.get("cost")
    if claim is None or claim.verdict != "yes" or (claim.effect.value or 0.0) < 1.05:
        return ""
    speed = claims.get("faster")
    if (
        speed is not None
        and speed.verdict == "yes"
        and (speed.evidence or {}).get("seconds_ratio") is not None
    ):
        return ""  # the speed is told in steps and in seconds already
    return f"each step takes {ratio(claim.effect.value)} the time"


def still_open(claims: dict[ClaimName, Claim], data: DataSummary) -> str:
    """Say what is not known of speed and test metric, or known to make no difference."""
    verbs: tuple[tuple[ClaimName, str], ...] = (
        ("faster", "trains faster"),
        ("generalizes", "predicts better"),
    )
    parts = []
    for verdict, end in (("undecided", "is undecided"), ("not measured", "was not measured")):
        some = [verb for name, verb in verbs if name in claims and claims[name].verdict == verdict]
        if some:
            parts.append(f"whether it {listing(some, 'or')} {end}")
    claim = claims.get("generalizes")
    if claim is not None and claim.verdict == "no difference":
        unit = "pp" if data.metric_unit == "%" else data.metric_unit
        parts.append(f"it predicts equally well, within ±{quantity(data.margin, unit)}")
    return " and ".join(parts)


def _gain(claim: Claim, data: DataSummary) -> tuple[str, str]:
    if claim.claim == "faster":
        return _speed(claim)
    if claim.claim == "larger_learning_rates":
        size = claim.effect.value or 0.0
        how = "a far larger" if size >= 0.9 else "a larger" if size >= 0.4 else "a somewhat larger"
        return f"tolerates {how} learning rate", sides(claim, data)
    words: dict[ClaimName, str] = {
        "generalizes": "predicts better",
        "initialization": "depends less on the initialization",
        "regularizes": "has a smaller gap between train and test",
        "gradients": "keeps gradients more level over depth",
    }
    return words[claim.claim], sides(claim, data)


def _speed(claim: Claim) -> tuple[str, str]:
    value, seconds = claim.effect.value, (claim.evidence or {}).get("seconds_ratio")
    if value is None:
        return "trains faster", ""
    steps = f"{claim.effect.bound} {ratio(value)}".strip()
    if seconds is not None and seconds < 1.05:
        # Steps that cost more can eat up what fewer of them save, and then nothing is faster.
        return (
            "needs fewer steps to the target but no less time",
            f"{steps} in steps, {ratio(seconds)} in seconds",
        )
    same = seconds is None or ratio(seconds) == ratio(value)
    inside = steps if same else f"{steps} in steps, {ratio(seconds)} in seconds"
    # Steps are what is judged; the word promises no more than the clock shows.
    least = value if seconds is None else min(value, seconds)
    return f"trains {'faster' if claim.effect.bound else _times(least)}", inside


def _times(value: float) -> str:
    if value < 1.4:
        return "somewhat faster"
    if value < 1.75:
        return "about one and a half times as fast"
    if value < 2.5:
        return "about twice as fast"
    words = ["three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    return (
        f"about {words[int(value + 0.5) - 3]} times as fast"
        if value < 10.5
        else "more than ten times as fast"
    )


def _loss(claim: Claim, data: DataSummary) -> tuple[str, str]:
    if claim.claim == "faster":
        value = claim.effect.value
        return "trains more slowly", f"{ratio(1 / value)} the steps" if value else ""
    words: dict[ClaimName, str] = {
        "larger_learning_rates": "tolerates only a smaller learning rate",
        "generalizes": "predicts worse",
        "initialization": "depends more on the initialization",
        "regularizes": "has a larger gap between train and test",
        "gradients": "keeps gradients less level over depth",
    }
    return words[claim.claim], sides(claim, data)


def sides(claim: Claim, data: DataSummary) -> str:
    """Return the two sides of a claim, "1 against 0.1"; "" where one is not known."""
    ours, theirs = claim.variant_value, claim.baseline_value
    if ours is None or theirs is None or claim.claim == "gradients":
        return ""
    if claim.claim == "larger_learning_rates":
        # Sampling has its own steps in the grid: two digits are all that it resolves.
        return f"{claim.effect.bound} {learning_rate(ours, 2)} against {learning_rate(theirs, 2)}".strip()
    if claim.claim == "generalizes":
        unit = data.metric_unit
        return f"test {data.metric} {quantity(ours, unit)} against {quantity(theirs, unit)}"
    unit = {"faster": "steps", "cost": "ms"}.get(claim.claim, claim.effect.unit)
    spread = "spread " if claim.claim == "initialization" else ""
    return f"{spread}{bare(ours, unit)} against {quantity(theirs, unit)}"
