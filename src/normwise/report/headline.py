"""The answer of one setting in one sentence, about the recommended variant against the baseline."""

from __future__ import annotations

from collections.abc import Iterable

from normwise.report.clauses import GAINS, Clause, gains, losses, of_variant, price, sides, still_open, told
from normwise.report.names import full_name, spelled, start, this_setting
from normwise.report.numbers import effect
from normwise.results import Claim, ClaimName, DataSummary, Setting

_SEEN: dict[ClaimName, str] = {
    "faster": "the target reached in",
    "larger_learning_rates": "usable learning rates up to",
    "generalizes": "",  # its sides name the metric
}


def choice(setting: Setting) -> str:
    """Return the variant that the answer is about: the recommended one, or the one with most shown for it."""
    if setting.recommendation is not None:
        return setting.recommendation.variant
    best = _most_shown(setting)
    return setting.baseline if best is None else best


def headline(setting: Setting, data: DataSummary, *, exploratory: bool = False) -> str:
    """Return the sentence.

    Args:
        setting: the setting; without claims the sentence says that there is nothing to say.
        data: the data, its metric named as people write it.
        exploratory: a first look, told in numbers without any verdict.
    """
    where = f"On {data.name}, with {this_setting(setting.name)}, "
    known = [claim for claim in setting.claims if claim.verdict != "not measured"]
    if not known:
        others = [variant for variant in setting.variants if variant.name != setting.baseline]
        why = "too few trials have finished" if others else "there is no variant beside the baseline"
        return f"{where}nothing can be said: {why}."
    if not _trained(setting):
        return f"{where}nothing can be said yet: no fresh seed has finished."
    if exploratory or any(claim.verdict == "exploratory" for claim in known):
        return f"{where}{_seen(setting, data)}."
    chosen = choice(setting)
    if chosen == setting.baseline:
        return f"{where}{_for_the_baseline(setting, data)}."
    against = "" if setting.baseline == "none" else f"and against {full_name(setting.baseline)}, "
    return f"{where}{against}{_for_a_variant(setting, data, chosen)}."


def tab_words(setting: Setting, *, exploratory: bool = False) -> str:
    """Return the answer in a few words, for a tab or one line of a list."""
    chosen = choice(setting)
    claims = of_variant(setting, chosen)
    if not _trained(setting) or all(claim.verdict == "not measured" for claim in setting.claims):
        return "nothing measured"
    if exploratory or any(claim.verdict == "exploratory" for claim in setting.claims):
        return "a first look"
    if chosen == setting.baseline:
        decided = any(claim.verdict in ("yes", "no") for claim in setting.claims if claim.claim in GAINS)
        return f"nothing beats {full_name(setting.baseline)}" if decided else "nothing decided"
    for name, words in (
        ("faster", "{} faster"),
        ("generalizes", "{} on test"),
        ("larger_learning_rates", "larger learning rates"),
        ("initialization", "less dependent on initialization"),
        ("regularizes", "smaller gap"),
    ):
        claim = claims.get(name)  # type: ignore[call-overload]
        if claim is not None and claim.verdict == "yes":
            number = effect(claim.effect, signed=claim.effect.unit != "x" and not claim.effect.bound)
            return f"{start(full_name(chosen))}: {words.format(number)}"
    return start(full_name(chosen))


def _trained(setting: Setting) -> bool:
    """Whether a fresh seed has finished: the scan, which comes first, is no answer."""
    ends = [end for variant in setting.variants for end in variant.final]
    return any(end.diverged or end.train is not None or end.test is not None for end in ends)


def _for_a_variant(setting: Setting, data: DataSummary, chosen: str) -> str:
    claims = of_variant(setting, chosen)
    better, worse = gains(claims, data), losses(claims, data)
    name = full_name(chosen, subject=True)
    if not better and not worse:
        return (
            f"nothing is decided about {full_name(chosen)} against {full_name(setting.baseline)}{_on(claims)}"
        )
    mark, lean = _lean(claims, better + worse)
    facts = told(better, mark=mark) or "is not shown to help"
    but = f" but {told(worse, mark=mark)}" if worse else ""
    rest = ", and ".join(part for part in (price(claims), still_open(claims, data)) if part)
    return f"{name} {facts}{but}{lean}" + (f"; {rest}" if rest else "")


def _for_the_baseline(setting: Setting, data: DataSummary) -> str:
    base = full_name(setting.baseline)
    variants = list(dict.fromkeys(claim.variant for claim in setting.claims))
    who = (
        f"{full_name(variants[0], subject=True)} is not"
        if len(variants) == 1
        else f"none of the {spelled(len(variants), 'variant')} is"
    )
    benefits = [claim for claim in setting.claims if claim.claim in GAINS]
    if not any(claim.verdict in ("yes", "no") for claim in benefits):
        pairs = _pairs(benefits)
        on = f" on {spelled(pairs, 'seed')}" if pairs else ""
        return f"nothing is decided{on}: {who} shown to do better or worse than {base}"
    best = _most_shown(setting)
    if best is None:
        return f"nothing beats {base}: {who} shown to train faster or to predict better"
    claims = of_variant(setting, best)
    better, worse = gains(claims, data), losses(claims, data)
    mark, lean = _lean(claims, better + worse)
    but = told(worse, mark=mark)
    rest = ", and ".join(part for part in (price(claims), still_open(claims, data)) if part)
    return (
        f"nothing beats {base} on the whole: {full_name(best, subject=True)} {told(better, mark=mark)}"
        + (f" but {but}" if but else "")
        + lean
        + (f"; {rest}" if rest else "")
    )


def _seen(setting: Setting, data: DataSummary) -> str:
    chosen = choice(setting)
    if chosen == setting.baseline:
        # Nothing is judged here; the variant whose steps differ most has most to show.
        speeds = [claim for claim in setting.claims if claim.claim == "faster"]
        ranked = sorted(speeds, key=lambda claim: claim.effect.value or 0.0, reverse=True)
        chosen = (ranked or list(setting.claims))[0].variant
    claims = of_variant(setting, chosen)
    facts = []
    for name, words in _SEEN.items():
        claim = claims.get(name)
        text = sides(claim, data) if claim is not None else ""
        if claim is not None and text:
            facts.append(f"{words} {text}".strip())
    pairs = _pairs(claims.values())
    numbers = ", ".join(facts) or "no number yet"
    return (
        f"{full_name(chosen)} was tried against {full_name(setting.baseline)}: {numbers}, "
        f"seen in {spelled(pairs, 'seed')}; nothing is judged"
    )


def _most_shown(setting: Setting) -> str | None:
    """Return the variant with the most benefits shown, None where no variant has any."""
    scores: dict[str, tuple[int, int]] = {}
    for claim in setting.claims:
        if claim.claim not in GAINS:
            continue
        yes, balance = scores.get(claim.variant, (0, 0))
        won, lost = claim.verdict == "yes", claim.verdict == "no"
        scores[claim.variant] = (yes + won, balance + won - lost)
    ranked = sorted(scores, key=lambda name: (scores[name][1], scores[name][0]), reverse=True)
    kept = [name for name in ranked if scores[name][0]]
    return kept[0] if kept else None


def _lean(claims: dict[ClaimName, Claim], clauses: list[Clause]) -> tuple[bool, str]:
    """Say once that all lean; where some lean and some do not, mark each one that does."""
    if not all(clause.leaning for clause in clauses):
        return True, ""
    pairs = max((claim.effect.pairs for claim in claims.values() if claim.strength == "leaning"), default=0)
    return False, f" – {spelled(pairs, 'seed')}: leaning" if 0 < pairs < 10 else " – leaning"


def _on(claims: dict[ClaimName, Claim]) -> str:
    pairs = _pairs(claims.values())
    return f" on {spelled(pairs, 'seed')}" if pairs else ""


def _pairs(claims: Iterable[Claim]) -> int:
    """Pairs of fresh seeds that claims rest on: learning rates are compared on seeds of the scan, and may have more."""
    known = [claim for claim in claims if claim.claim != "cost"]
    fresh = [claim.effect.pairs for claim in known if claim.claim != "larger_learning_rates"]
    return max(fresh, default=0) or max((claim.effect.pairs for claim in known), default=0)
