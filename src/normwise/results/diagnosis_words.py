"""The words of a diagnosis: numbers, places, figures in one line, and what was checked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from normwise.results.diagnosis import Check, Diagnosis, Evidence, Finding, Proof, Series

FAMILIES = {"1": "structure", "2": "numerics", "3": "state", "4": "data", "5": "dynamics"}
"""Of a rule, by the first digit of its code."""

_BARS = "▁▂▃▄▅▆▇█"
_MOST_BARS = 32
_ALSO = 4
_CERTAIN = 0.995
_APPLIED = {
    "safe": "safe: nothing else changes",
    "changes training": "the training becomes another",
    "advice": "",
}
_OUTCOMES = {
    "helps": "helps by",
    "no difference": "no difference:",
    "hurts": "hurts:",
    "undecided": "undecided:",
}


def place(layer: str) -> str:
    """A layer in words; the training where there is none.

    >>> place("blocks.0"), place("0"), place("")
    ('blocks.0', 'layer 0', 'the training')
    """
    return f"layer {layer}" if layer.isdecimal() else layer or "the training"


def sureness(confidence: float) -> str:
    """A confidence in words.

    >>> sureness(1.0), sureness(0.834)
    ('certain', '83 % sure')
    """
    return "certain" if confidence >= _CERTAIN else f"{100 * confidence:.0f} % sure"


def sentence(words: str) -> str:
    """With a capital in front."""
    return words[:1].upper() + words[1:]


def others(finding: Finding) -> str:
    """Further layers with the same fault, the first few by name; "" without any."""
    shown, more = finding.also[:_ALSO], len(finding.also) - _ALSO
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def help_words(finding: Finding) -> str:
    """The remedy, and what else it changes; "" without one."""
    what = _APPLIED[finding.applicability]
    return f"{finding.remedy} ({what})" if finding.remedy and what else finding.remedy


def evidence_words(evidence: Evidence) -> str:
    """One number with what it is held against."""
    unit = f" {evidence.unit}" if evidence.unit else ""
    value = "not finite" if evidence.value is None else f"{short(evidence.value)}{unit}"
    return f"{evidence.name} {value}" + (f" ({evidence.expected})" if evidence.expected else "")


def short(value: float) -> str:
    """A number with three digits.

    >>> short(0.012345), short(88.0), short(1234567.0)
    ('0.0123', '88', '1.23e6')
    """
    text = f"{value:.3g}"
    mantissa, mark, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if mark else text


def spark(series: Series) -> str:
    """A series in one line: bars, then from which value to which.

    Longer series are thinned; a value that is not there, or has no logarithm, is a ×.
    """
    values = [_drawn(value, series.log) for value in series.values]
    known = [value for value in values if value is not None]
    if not known:
        return "nothing was measured"
    low, high = min(known), max(known)
    at = _thinned(len(values))
    bars = "".join(_bar(values[i], low, high) for i in at)
    ends = [10**value if series.log else value for value in (low, high)]
    return f"{bars} {short(ends[0])} " + (f"to {short(ends[1])}" if high > low else "throughout")


def _drawn(value: float | None, log: bool) -> float | None:
    if value is None or not math.isfinite(value) or (log and value <= 0):
        return None
    return math.log10(value) if log else value


def _thinned(count: int) -> Sequence[int]:
    if count <= _MOST_BARS:
        return range(count)
    return [round(i * (count - 1) / (_MOST_BARS - 1)) for i in range(_MOST_BARS)]


def _bar(value: float | None, low: float, high: float) -> str:
    if value is None:
        return "×"
    share = (value - low) / (high - low) if high > low else 0.5
    return _BARS[round(share * (len(_BARS) - 1))]


def proof_words(proof: Proof) -> str:
    """The outcome with its interval, the control, and how much was run; the remedy alone where nothing came out."""
    effect = proof.effect
    ends = [effect.interval.low, effect.interval.high]
    if effect.value is None or None in ends:
        return f"{proof.remedy}: {proof.outcome}"
    unit = f" {effect.unit}" if effect.unit else ""
    span = ", ".join(_signed(end) for end in ends if end is not None)
    return (
        f"{proof.remedy}: {_OUTCOMES[proof.outcome]} {_signed(effect.value)}{unit} [{span}] {proof.metric} against "
        f"{proof.control}; {proof.seeds} seeds of {proof.steps} steps"
    )


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + short(value)


def headline(diagnosis: Diagnosis) -> str:
    """How many findings there are, and what was looked at."""
    count = len(diagnosis.findings)
    found = "Nothing found" if not count else f"{count} finding" + "s" * (count > 1)
    below = _below(diagnosis.findings)
    folded = f", and {below} more that follow{'s' * (below == 1)} from {'it' if count == 1 else 'them'}" * (
        below > 0
    )
    quiet = sum(check.status == "suppressed" for check in diagnosis.checks)
    folded += f"; {quiet} rule{'s' * (quiet > 1)} suppressed" * (quiet > 0)
    data = "" if "batch" in diagnosis.measured else ", no data"
    return f"{found}{folded}. Looked at: {', '.join(diagnosis.measured)}{data}; {short(diagnosis.seconds)} seconds."


def _below(findings: Sequence[Finding]) -> int:
    return sum(len(finding.dependents) + _below(finding.dependents) for finding in findings)


def checked_words(checks: Sequence[Check], *, verbose: bool) -> Iterator[tuple[str, str]]:
    """What was checked, suppressed and not checked, each with counts by family and reasons; by name if asked for.

    Args:
        checks: of every rule.
        verbose: name the rules.
    """
    asked = [check for check in checks if check.status in ("found", "clear")]
    if asked:
        yield f"Checked {len(asked)} rules" if len(asked) > 1 else "Checked 1 rule", _counted(asked, verbose)
    for status in ("suppressed", "not checked"):
        reasons = dict.fromkeys(check.why for check in checks if check.status == status)
        for why in reasons:
            some = [check for check in checks if check.status == status and check.why == why]
            yield (
                f"{status.capitalize()} {len(some)}, {why}",
                _counted(some, verbose or status == "suppressed"),
            )


def _counted(checks: Sequence[Check], verbose: bool) -> str:
    if verbose:
        return ", ".join(f"{check.code} {check.rule}" for check in checks)
    families = [FAMILIES.get(check.code[2:3], "other") for check in checks]
    return ", ".join(f"{families.count(name)} of {name}" for name in dict.fromkeys(families))
