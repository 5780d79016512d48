"""A diagnosis in words: lines of spans, each span with a role that a terminal may give a color."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from normwise.results.diagnosis_words import (
    checked_words,
    evidence_words,
    headline,
    help_words,
    others,
    place,
    proof_words,
    sentence,
    spark,
    sureness,
)

if TYPE_CHECKING:
    from normwise.results.diagnosis import Diagnosis, Finding, Proof, Vital

Role = Literal["plain", "strong", "bad", "good", "muted", "layer", "code"]
Span = tuple[str, Role]

WIDTH = 100
"""Columns of the plain form; lines of code may be longer."""

_IN = 7
_MOST_CODE = 6


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
        verbose: name every rule that was asked, and give all lines of code.
    """
    yield Line(((diagnosis.subject, "muted"),))
    yield Line(())
    width = max((len(vital.question) for vital in diagnosis.vitals), default=0)
    for vital in diagnosis.vitals:
        yield _vital(vital, width)
    yield Line(())
    for finding in diagnosis.findings:
        yield from _finding(finding, 0, verbose=verbose)
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


def _finding(finding: Finding, depth: int, *, verbose: bool) -> Iterator[Line]:
    at = depth * _IN
    head: tuple[Span, ...] = (
        (finding.code, "bad"),
        (f"  {place(finding.layer)}", "layer"),
        (f"  {finding.rule}, {sureness(finding.confidence)}", "muted"),
    )
    yield Line((*((("└ ", "muted"),) if depth else ()), *head), max(0, at - 2))
    inner = at + _IN
    yield Line(((sentence(finding.message), "plain"),), inner)
    if finding.evidence:
        words = "; ".join(evidence_words(each) for each in finding.evidence)
        yield Line(((words, "muted"),), inner, 2)
    for series in finding.figures:
        yield Line(((f"{series.name} over {series.over}  {spark(series)}", "muted"),), inner, 2)
    if finding.also:
        yield Line((("also ", "muted"), (others(finding), "layer")), inner, 2)
    if finding.remedy:
        yield Line((("help: ", "good"), (help_words(finding), "plain")), inner, 2)
    shown = finding.code_lines if verbose else finding.code_lines[:_MOST_CODE]
    for code in shown:
        yield Line(((code, "code"),), inner + 4, whole=True)
    if len(shown) < len(finding.code_lines):
        more = len(finding.code_lines) - len(shown)
        yield Line(((f"# {more} more like these: --verbose", "muted"),), inner + 4)
    for dependent in finding.dependents:
        yield from _finding(dependent, depth + 1, verbose=verbose)


def _proofs(proofs: Sequence[Proof]) -> Iterator[Line]:
    yield Line((("Proof, in paired trials", "strong"),))
    for proof in proofs:
        role: Role = {"helps": "good", "hurts": "bad"}.get(proof.outcome, "muted")  # type: ignore[assignment]
        head: tuple[Span, ...] = ((proof.code, "bad"), (f"  {place(proof.layer)}  ", "layer"))
        yield Line((*head, (proof_words(proof), role)), 0, _IN)
    if not any(proof.outcome == "helps" for proof in proofs):
        yield Line((("No remedy helped.", "strong"),))


def _ending(diagnosis: Diagnosis, *, verbose: bool) -> Iterator[Line]:
    for note in diagnosis.notes:
        yield Line(((f"note: {note}", "muted"),), 0, 6)
    yield Line(((headline(diagnosis), "bad" if diagnosis.findings else "good"),), 0, 2)
    for status, words in checked_words(diagnosis.checks, verbose=verbose):
        yield Line(((f"{status}: ", "strong"), (words, "plain")), 0, 2)
    if diagnosis.findings:
        yield Line(((f"What a rule is about: normwise rule {diagnosis.findings[0].code}", "muted"),))
