"""The answer of one setting in two or three sentences: what is decided, the test metric, the price."""

from __future__ import annotations

from collections.abc import Sequence

from normwise.report.document import Answer
from normwise.report.numbers import bare, count, listing, quantity
from normwise.report.phrases import BENEFITS
from normwise.report.wording import by_claim, display, scorecard
from normwise.results import Claim, ClaimName, DataSummary, Setting

_VERBS: dict[ClaimName, tuple[str, str]] = {
    "faster": ("needs fewer steps to the target", "need fewer steps to the target"),
    "larger_learning_rates": ("tolerates larger learning rates", "tolerate larger learning rates"),
    "initialization": ("depends less on the initialization", "depend less on the initialization"),
    "gradients": ("keeps gradients more level", "keep gradients more level"),
    "regularizes": ("shows a smaller train–test gap", "show a smaller train–test gap"),
}

_AGAINST: dict[ClaimName, tuple[str, str]] = {
    "faster": ("needs more steps to the target", "need more steps to the target"),
    "larger_learning_rates": (
        "tolerates only smaller learning rates",
        "tolerate only smaller learning rates",
    ),
    "initialization": ("depends more on the initialization", "depend more on the initialization"),
    "gradients": ("keeps gradients less level", "keep gradients less level"),
    "regularizes": ("shows a larger train–test gap", "show a larger train–test gap"),
}


def answer(setting: Setting, data: DataSummary, anchor: str) -> Answer:
    """Return the head of one setting."""
    return Answer(
        anchor=anchor,
        setting=setting.name,
        name=display(setting.name),
        network=f"{setting.network}; batch {setting.batch_size}, {setting.optimizer}, "
        f"{count(setting.steps, 'step')}, {count(len(setting.seeds), 'fresh seed')}",
        sentences=sentences(setting, data),
        scorecard=scorecard(setting, data),
    )


def sentences(setting: Setting, data: DataSummary) -> tuple[str, ...]:
    """Return the answer of one setting, in words."""
    if not setting.claims:
        return (
            "Nothing was compared here: there is no variant beside the baseline, or no trial has finished.",
        )
    return tuple(text for text in (_benefits(setting), _test(setting, data), _cost(setting)) if text)


def _benefits(setting: Setting) -> str:
    parts = []
    for name in _VERBS:
        claims = by_claim(setting, name)
        yes = [claim for claim in claims if claim.verdict == "yes"]
        if yes:
            verb = _VERBS[name][0 if len(yes) == 1 and len(claims) > 1 else 1]
            verb = verb if len(claims) > 1 else _VERBS[name][0]
            parts.append(f"{_who(yes, claims)} {verb}{_span(yes)}")
    for name, (single, several) in _AGAINST.items():
        claims = by_claim(setting, name)
        no = [claim for claim in claims if claim.verdict == "no"]
        if no:
            parts.append(f"{_who(no, claims)} {single if len(no) == 1 else several}{_span(no)}")
    firm = {
        claim.strength
        for claim in setting.claims
        if claim.verdict in ("yes", "no") and claim.claim in BENEFITS
    }
    if not parts:
        return f"Against {setting.baseline}, no benefit in training is decided{_pairs(setting)}."
    lean = f" Leaning only{_pairs(setting)}." if firm == {"leaning"} else ""
    return f"Against {setting.baseline}, {'; '.join(parts)}.{lean}"


def _pairs(setting: Setting) -> str:
    pairs = max((claim.effect.pairs for claim in setting.claims if claim.claim in BENEFITS), default=0)
    return f" ({count(pairs, 'pair')})" if pairs else ""


def _who(some: Sequence[Claim], family: Sequence[Claim]) -> str:
    names = [claim.variant for claim in some]
    if len(family) == 1:
        return names[0]
    if len(some) == len(family):
        return "both variants" if len(some) == 2 else f"all {len(some)} variants"
    if len(names) > 3:
        missing = [claim.variant for claim in family if claim.variant not in names]
        if len(missing) <= 2:
            return f"all but {listing(missing)}"
    return listing(names)


def _span(claims: Sequence[Claim]) -> str:
    """Say from where to where the effects of several claims go: " (2.2× to 4.4×)"."""
    known = sorted(
        ((claim.effect.value, claim.effect.bound) for claim in claims if claim.effect.value is not None),
        key=lambda pair: pair[0],
    )
    unit = claims[0].effect.unit
    if not known or any(claim.effect.unit != unit for claim in claims) or unit.endswith("per layer"):
        return ""
    (low, low_bound), (high, high_bound) = known[0], known[-1]
    last = f"{high_bound} {quantity(high, unit)}".strip()
    if quantity(low, unit) == quantity(high, unit):
        return f" ({last})"
    first = f"{low_bound} {bare(low, unit)}".strip()
    return f" ({first} to {last})"


def _test(setting: Setting, data: DataSummary) -> str:
    claims = by_claim(setting, "generalizes")
    if not claims:
        return ""
    names = {
        "yes": "better with {}",
        "no": "worse with {}",
        "no difference": "no difference within the margin for {}",
        "undecided": "undecided for {}",
        "not measured": "not measured for {}",
    }
    parts = []
    for verdict, words in names.items():
        some = [claim for claim in claims if claim.verdict == verdict]
        if some:
            parts.append(words.format(_who(some, claims)) + (_span(some) if verdict in ("yes", "no") else ""))
    return f"Test {data.metric}: {'; '.join(parts)}."


def _cost(setting: Setting) -> str:
    claims = by_claim(setting, "cost")
    slower = [claim for claim in claims if claim.verdict == "yes"]
    if not claims:
        return ""
    if not slower:
        return f"A step is not shown to take longer than with {setting.baseline}."
    return f"A step takes longer with {_who(slower, claims)}{_span(slower)}."
