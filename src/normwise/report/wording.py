"""Claims in words: one honest sentence for each, with its number, interval and what more would take."""

from __future__ import annotations

from collections.abc import Sequence

from normwise.report.document import ClaimGroup, ClaimLine, ClaimList, Tone
from normwise.report.numbers import (
    MISSING,
    bare,
    count,
    effect,
    interval,
    learning_rate,
    listing,
    number,
    quantity,
    ratio,
    sentence,
)
from normwise.report.phrases import PHRASES
from normwise.results import Claim, ClaimName, DataSummary, Interval, Setting, Verdict

GLYPHS: dict[Verdict, str] = {
    "yes": "✓",
    "no": "✗",
    "undecided": "?",
    "no difference": "=",
    "not measured": "–",
    "exploratory": "~",
}
_RATIOS = {
    "seconds": "counted in seconds",
    "fixed": "at the learning rate of {b}",
    "fastest": "at each one's fastest learning rate",
}
_OPTIONS = dict.fromkeys(PHRASES, "--seeds") | {"larger_learning_rates": "--scan-seeds"}
"""The option that gives a claim more pairs: learning rates are compared on the seeds of the scan."""

_WHAT: dict[ClaimName, str] = {
    "initialization": "standard deviation ",
    "generalizes": "mean ",
    "regularizes": "mean ",
}
"""What the two sides of a claim are, where that is not plain."""

_MISSED = {"baseline_missed": "{b}", "variant_missed": "{v}"}
_WITHOUT_WELCOME: dict[Verdict, Tone] = {
    "undecided": "open",
    "no difference": "neutral",
    "not measured": "none",
    "exploratory": "neutral",
}


def tone(claim: Claim) -> Tone:
    """Say whether a verdict is welcome: a yes is, except to "costs"."""
    if claim.verdict == "yes":
        return "bad" if claim.claim == "cost" else "good"
    if claim.verdict == "no":
        return "good" if claim.claim == "cost" else "bad"
    return _WITHOUT_WELCOME[claim.verdict]


def target_words(setting: Setting, data: DataSummary) -> str:
    """Name the level that "faster" is measured to."""
    if setting.target is None:
        return "none was fixed"
    return f"{quantity(setting.target, data.metric_unit)} validation {data.metric}"


def say(claim: Claim, setting: Setting, data: DataSummary) -> str:
    """Return the sentence of one claim."""
    phrase = PHRASES[claim.claim]
    if claim.verdict == "exploratory":
        return _seen(claim, setting, data)
    heads: dict[Verdict, str] = {
        "yes": phrase.yes,
        "no": phrase.no,
        "no difference": phrase.same,
        "undecided": f"undecided whether {phrase.open}",
        "not measured": f"not measured whether {phrase.open}",
    }
    head = heads[claim.verdict]
    # A name is written as its owner wrote it, also where it begins the sentence.
    if not head.startswith("{"):
        head = head[0].upper() + head[1:]
    head = head.format(v=claim.variant, b=setting.baseline, m=data.metric)
    if claim.verdict == "not measured":
        return _stop(f"{head}: {claim.reason}" if claim.reason else head)
    parts = [_stop(_with_numbers(head, claim, setting, data)), _evidence(claim, setting)]
    if claim.verdict == "undecided":
        parts.append(_more_seeds(claim))
    parts.append(sentence(claim.reason))
    return " ".join(part for part in parts if part)


def _seen(claim: Claim, setting: Setting, data: DataSummary) -> str:
    """Tell the numbers of a first look, without what they might mean."""
    what = PHRASES[claim.claim].neutral.lower()
    facts = [part for part in (_number(claim), _sides(claim, data)) if part]
    head = f"{claim.variant} against {setting.baseline}, {what}: {'; '.join(facts) or 'no number'}"
    return f"{head} (seen in {count(claim.effect.pairs, 'seed')})."


def _number(claim: Claim) -> str:
    estimate = claim.effect
    return (
        "" if estimate.value is None else effect(estimate, signed=estimate.unit != "x" and not estimate.bound)
    )


def _stop(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _with_numbers(head: str, claim: Claim, setting: Setting, data: DataSummary) -> str:
    estimate = claim.effect
    inside = "; ".join(
        part
        for part in (
            _sides(claim, data),
            interval(estimate.interval, estimate.unit),
            _superior(claim),
            _pairs(claim),
        )
        if part
    )
    value = _value(claim)
    text = f"{head}: {value}" if value else head
    return f"{text} ({inside})" if inside else text


def _pairs(claim: Claim) -> str:
    pairs = count(claim.effect.pairs, "pair") if claim.effect.pairs else ""
    return ", ".join(part for part in (claim.strength, pairs) if part)


def _superior(claim: Claim) -> str:
    share = (claim.evidence or {}).get("probability_of_superiority")
    return "" if share is None or claim.claim == "cost" else f"ahead in {100 * share:.0f}% of pairs"


def _value(claim: Claim) -> str:
    """Return the number behind a verdict, said the way that needs no sign convention."""
    estimate = claim.effect
    if estimate.value is None:
        return ""
    if estimate.unit == "x":
        if claim.claim == "faster" and 0 < estimate.value < 1:
            # One over a ratio turns its bound round: a speed of at most ⅔ is at least 1.5 times the steps.
            bound = {"at most": "at least ", "at least": "at most "}.get(estimate.bound, "")
            return f"{bound}{ratio(1 / estimate.value)} the steps"
        what = {"faster": "faster", "cost": "the time"}.get(claim.claim, "")
        return f"{effect(estimate)} {what}".strip()
    return effect(estimate, signed=not estimate.bound)


def _sides(claim: Claim, data: DataSummary) -> str:
    ours, theirs = claim.variant_value, claim.baseline_value
    if ours is None and theirs is None:
        return ""
    if claim.claim == "larger_learning_rates":
        return f"up to {learning_rate(ours, 2)} against {learning_rate(theirs, 2)}"
    if claim.claim == "gradients":
        return f"{bare(ours, claim.effect.unit)} against {bare(theirs, claim.effect.unit)} away from level"
    unit = _side_unit(claim, data)
    missed = "median not reached" if claim.claim == "faster" else "not known"
    if ours is None or theirs is None:
        left = missed if ours is None else quantity(ours, unit)
        right = missed if theirs is None else quantity(theirs, unit)
    else:
        left, right = bare(ours, unit), quantity(theirs, unit)
    what = _WHAT.get(claim.claim, "")
    return f"{what}{left} against {right}"


def _side_unit(claim: Claim, data: DataSummary) -> str:
    """Name the unit of a claim's two sides: where the effect is a ratio, that of what was divided."""
    if claim.claim == "faster":
        return "steps"
    if claim.claim == "cost":
        return "ms"
    return data.metric_unit if claim.claim == "generalizes" else claim.effect.unit


def _evidence(claim: Claim, setting: Setting) -> str:
    evidence = claim.evidence or {}
    lines: list[str] = []
    for key, words in _RATIOS.items():
        value = evidence.get(f"{key}_ratio")
        if value is not None and value != claim.effect.value:
            ends = Interval(evidence.get(f"{key}_low"), evidence.get(f"{key}_high"))
            both = (
                "" if ends.low is None or ends.high is None else f" ({ratio(ends.low)} to {ratio(ends.high)})"
            )
            lines.append(f"{words.format(b=setting.baseline)}: {ratio(value)}{both}")
    missed = [
        f"{value:.0f} of {claim.effect.pairs} runs of {name.format(b=setting.baseline, v=claim.variant)}"
        for key, name in _MISSED.items()
        if (value := evidence.get(key))
    ]
    if missed:
        lines.append(f"{listing(missed)} missed the target and count with their whole length")
    return sentence("; ".join([*lines, *_slopes(evidence)]))


def _slopes(evidence: dict[str, float | None]) -> list[str]:
    """Tell the factors per layer before training, one for each initialization."""
    pairs = [
        f"{name}: {number(value)} against {number(evidence.get(f'baseline_start {name}'))}"
        for key, value in evidence.items()
        if key.startswith("variant_start ")
        and value is not None
        and (name := key.removeprefix("variant_start "))
    ]
    if not pairs:
        return []
    return [f"squared gradient norm per layer towards the input (1 is level): {', '.join(pairs)}"]


def _more_seeds(claim: Claim) -> str:
    parts = []
    if claim.smallest_detectable is not None:
        found = quantity(claim.smallest_detectable, claim.effect.unit)
        pairs = f"{claim.effect.pairs} pairs" if claim.effect.pairs > 1 else "so few pairs"
        parts.append(f"The smallest effect that {pairs} show four times in five is {found}")
    if claim.seeds_needed is not None:
        n = claim.seeds_needed
        option = _OPTIONS[claim.claim]
        parts.append(f"an effect as large as this one would need about {count(n, 'seed')}: add {option} {n}")
    elif claim.effect.value is not None and not claim.reason:
        parts.append("at the size it seems to have, more seeds would not decide it")
    return sentence("; ".join(parts))


def _brief(claim: Claim) -> str:
    """Return value, interval and pairs, for one line of a terminal."""
    if claim.verdict == "not measured":
        return claim.reason or "not measured"
    if claim.verdict == "exploratory":
        return f"{_number(claim) or 'no number'} (seen in {count(claim.effect.pairs, 'seed')})"
    estimate = claim.effect
    value = _number(claim)
    low, high = (bare(end, estimate.unit) for end in (estimate.interval.low, estimate.interval.high))
    inside = [] if low == high == MISSING else [f"{low} to {high}".replace(f"{MISSING} to", "up to")]
    inside = [part.replace(f" to {MISSING}", " or more") for part in inside] + [_pairs(claim)]
    if claim.verdict == "undecided" and claim.seeds_needed is not None:
        noun = "scan seed" if claim.claim == "larger_learning_rates" else "seed"
        inside.append(f"needs about {count(claim.seeds_needed, noun)}")
    told = ", ".join(part for part in inside if part)
    return f"{value} ({told})" if told else value


def claim_list(setting: Setting, data: DataSummary, names: Sequence[ClaimName] = tuple(PHRASES)) -> ClaimList:
    """Return a line for every claim of some names, grouped by claim, variants in their order."""
    groups = []
    for name in names:
        phrase = PHRASES[name]
        lines = tuple(
            ClaimLine(
                setting=setting.name,
                claim=claim.claim,
                variant=claim.variant,
                verdict="seen" if claim.verdict == "exploratory" else claim.verdict,
                strength=claim.strength,
                glyph=GLYPHS[claim.verdict],
                tone=tone(claim),
                text=say(claim, setting, data),
                brief=_brief(claim),
            )
            for claim in by_claim(setting, name)
        )
        if lines:
            seen = all(line.verdict == "seen" for line in lines)
            label = phrase.neutral if seen else phrase.label
            question = "" if seen else phrase.question.format(t=target_words(setting, data))
            groups.append(ClaimGroup(label, question, lines))
    return ClaimList(tuple(groups))


def by_claim(setting: Setting, name: ClaimName) -> list[Claim]:
    """Return the claims of one name, variants in their order."""
    return [claim for claim in setting.claims if claim.claim == name]
