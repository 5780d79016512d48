"""A diagnosis in words: lines of spans, each span with a role that a terminal may give a color."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from normwise.results.diagnosis import Check, Diagnosis, Evidence, Finding, Proof, Series, Vital

Role = Literal["plain", "strong", "bad", "good", "muted", "layer", "code"]
Span = tuple[str, Role]

FAMILIES = {"1": "structure", "2": "numerics", "3": "state", "4": "data", "5": "dynamics"}
"""Of a rule, by the first digit of its code."""

WIDTH = 100
"""Columns of the plain form; lines of code may be longer."""

_IN = 7
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


@dataclass(frozen=True)
class Line:
    """A line before it is broken.

    Attributes:
        spans: text and role.
        indent: columns in front of it.
        hang: further columns in front of what is broken off.
        whole: never broken, because it is to be copied.
    """

    spans: tuple[Span, ...]
    indent: int = 0
    hang: int = 0
    whole: bool = False

    @property
    def text(self) -> str:
        """Without roles and indent."""
        return "".join(text for text, _ in self.spans)


def lines(diagnosis: Diagnosis, *, verbose: bool = False) -> Iterator[Line]:
    """What was asked of which network, the three vitals, findings, proofs, and what was checked.

    Args:
        diagnosis: the answer.
        verbose: name every rule that was asked.
    """
    yield Line(((diagnosis.subject, "muted"),))
    yield Line(())
    width = max((len(vital.question) for vital in diagnosis.vitals), default=0)
    for vital in diagnosis.vitals:
        yield _vital(vital, width)
    yield Line(())
    for finding in diagnosis.findings:
        yield from _finding(finding, 0)
        yield Line(())
    if diagnosis.proofs:
        yield from _proofs(diagnosis.proofs)
        yield Line(())
    yield from _ending(diagnosis, verbose=verbose)


def text(diagnosis: Diagnosis, *, verbose: bool = False, width: int = WIDTH) -> str:
    """The plain form, without colors."""
    rows: list[str] = []
    for line in lines(diagnosis, verbose=verbose):
        rows += _broken(line, width)
    return "\n".join(rows)


def _broken(line: Line, width: int) -> list[str]:
    pad = " " * line.indent
    if line.whole or not line.text.strip():
        return [(pad + line.text).rstrip()]
    return textwrap.wrap(
        line.text,
        width,
        initial_indent=pad,
        subsequent_indent=pad + " " * line.hang,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )


def _vital(vital: Vital, width: int) -> Line:
    roles: dict[str, Role] = {"yes": "bad", "no": "good", "not measured": "muted"}
    question = f"{vital.question:<{width}}  "
    if vital.answer == "not measured":
        spans: tuple[Span, ...] = ((f"not measured: {vital.detail}", "muted"),)
    else:
        spans = ((f"{vital.answer:<4} ", roles[vital.answer]), (vital.detail, "plain"))
    return Line(((question, "strong"), *spans), 0, width + 2)


def place(layer: str) -> str:
    """A layer in words; the training where there is none.

    >>> place("blocks.0"), place("")
    ('blocks.0', 'the training')
    """
    return layer or "the training"


def sureness(confidence: float) -> str:
    """A confidence in words.

    >>> sureness(1.0), sureness(0.834)
    ('certain', '83 % sure')
    """
    return "certain" if confidence >= _CERTAIN else f"{100 * confidence:.0f} % sure"


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


def _finding(finding: Finding, depth: int) -> Iterator[Line]:
    at = depth * _IN
    head: tuple[Span, ...] = (
        (finding.code, "bad"),
        (f"  {place(finding.layer)}", "layer"),
        (f"  {finding.rule}, {sureness(finding.confidence)}", "muted"),
    )
    yield Line((*((("└ ", "muted"),) if depth else ()), *head), max(0, at - 2))
    inner = at + _IN
    yield Line(((_sentence(finding.message), "plain"),), inner)
    if finding.evidence:
        words = "; ".join(evidence_words(each) for each in finding.evidence)
        yield Line(((words, "muted"),), inner, 2)
    for series in finding.figures:
        yield Line(((f"{series.name} over {series.over}  {spark(series)}", "muted"),), inner, 2)
    if finding.also:
        yield Line((("also ", "muted"), (others(finding), "layer")), inner, 2)
    if finding.remedy:
        yield Line((("help: ", "good"), (help_words(finding), "plain")), inner, 2)
    for code in finding.code_lines:
        yield Line(((code, "code"),), inner + 4, whole=True)
    for dependent in finding.dependents:
        yield from _finding(dependent, depth + 1)


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _proofs(proofs: Sequence[Proof]) -> Iterator[Line]:
    yield Line((("Proof, in paired trials", "strong"),))
    for proof in proofs:
        role: Role = {"helps": "good", "hurts": "bad"}.get(proof.outcome, "muted")  # type: ignore[assignment]
        head: tuple[Span, ...] = ((proof.code, "bad"), (f"  {place(proof.layer)}  ", "layer"))
        yield Line((*head, (proof_words(proof), role)), 0, _IN)
    if not any(proof.outcome == "helps" for proof in proofs):
        yield Line((("No remedy helped.", "strong"),))


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


def _ending(diagnosis: Diagnosis, *, verbose: bool) -> Iterator[Line]:
    for note in diagnosis.notes:
        yield Line(((f"note: {note}", "muted"),), 0, 6)
    yield Line(((headline(diagnosis), "bad" if diagnosis.findings else "good"),), 0, 2)
    for status, words in checked_words(diagnosis.checks, verbose=verbose):
        yield Line(((f"{status}: ", "strong"), (words, "plain")), 0, 2)
    if diagnosis.findings:
        yield Line(((f"What a rule is about: normwise rule {diagnosis.findings[0].code}", "muted"),))


def headline(diagnosis: Diagnosis) -> str:
    """How many findings there are, and what was looked at."""
    count = len(diagnosis.findings)
    found = "Nothing found" if not count else f"{count} finding" + "s" * (count > 1)
    below = _below(diagnosis.findings)
    folded = f", and {below} more that follow{'s' * (below == 1)} from {'it' if count == 1 else 'them'}" * (
        below > 0
    )
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
