"""A diagnosis without a format: what a page shows, as frozen data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from normwise.report.document import Table, Tone
from normwise.report.figure import Figure, Panel, Series
from normwise.report.numbers import count
from normwise.results.diagnosis import Diagnosis, Finding, Proof, Series as Measured, Vital
from normwise.results.diagnosis_words import (
    checked_words,
    evidence_words,
    headline,
    help_words,
    others,
    place,
    proof_words,
    sentence,
    sureness,
)

_MOST_CATEGORIES = 14
"""More than these are drawn as a line over their numbers."""

_LONGEST_LABEL = 36

_PROOF_TONES: dict[str, Tone] = {"helps": "good", "hurts": "bad", "no difference": "neutral"}
_VITAL_TONES: dict[str, Tone] = {"yes": "bad", "no": "good"}


@dataclass(frozen=True)
class VitalCard:
    """One of the three answers on top."""

    question: str
    answer: str
    detail: str
    tone: Tone


@dataclass(frozen=True)
class FindingCard:
    """A finding with what it explains below it.

    Attributes:
        anchor: "f1", "f1-2", …
        message: pieces of the sentence, each with whether it is a name in the code.
        evidence: each number with what it is held against.
        figures: small ones.
        remedy: in words, with what else it changes.
        code: as one text; "" without.
    """

    anchor: str
    code_name: str
    rule: str
    place: str
    sureness: str
    message: tuple[tuple[str, bool], ...]
    evidence: tuple[str, ...]
    figures: tuple[Figure, ...]
    also: str
    remedy: str
    code: str
    dependents: tuple[FindingCard, ...]


@dataclass(frozen=True)
class ProofLine:
    """What a trial of one remedy showed."""

    code_name: str
    place: str
    text: str
    outcome: str
    tone: Tone


@dataclass(frozen=True)
class DiagnosisPage:
    """The whole page.

    Attributes:
        checked: what was asked, suppressed and not asked, each with its reason or families.
        rules: every check by name.
    """

    title: str
    subject: str
    headline: str
    clean: bool
    vitals: tuple[VitalCard, ...]
    findings: tuple[FindingCard, ...]
    proofs: tuple[ProofLine, ...]
    notes: tuple[str, ...]
    checked: tuple[tuple[str, str], ...]
    rules: Table
    footer: str


def diagnosis_page(diagnosis: Diagnosis) -> DiagnosisPage:
    """Put the page of a diagnosis together."""
    checks = diagnosis.checks
    return DiagnosisPage(
        title="normwise diagnose",
        subject=diagnosis.subject,
        headline=headline(diagnosis),
        clean=not diagnosis.findings,
        vitals=tuple(map(_vital, diagnosis.vitals)),
        findings=tuple(_card(each, f"f{i}") for i, each in enumerate(diagnosis.findings, 1)),
        proofs=tuple(map(_proof, diagnosis.proofs)),
        notes=diagnosis.notes,
        checked=tuple(checked_words(checks, verbose=False)),
        rules=Table(
            f"All {count(len(checks), 'rule')}",
            ("code", "rule", "status", "why"),
            tuple((check.code, check.rule, check.status, check.why) for check in checks),
            (False, False, False, False),
        ),
        footer="What a rule is about, with an example: normwise rule NW101. All rules: normwise rule --all.",
    )


def _vital(vital: Vital) -> VitalCard:
    return VitalCard(vital.question, vital.answer, vital.detail, _VITAL_TONES.get(vital.answer, "none"))


def _card(finding: Finding, anchor: str) -> FindingCard:
    return FindingCard(
        anchor,
        finding.code,
        finding.rule,
        place(finding.layer),
        sureness(finding.confidence),
        _pieces(sentence(finding.message)),
        tuple(map(evidence_words, finding.evidence)),
        tuple(figure(series, f"{anchor}-{i}") for i, series in enumerate(finding.figures, 1)),
        others(finding),
        help_words(finding),
        "\n".join(finding.code_lines),
        tuple(_card(each, f"{anchor}-{i}") for i, each in enumerate(finding.dependents, 1)),
    )


def _pieces(message: str) -> tuple[tuple[str, bool], ...]:
    """A sentence parted at its backticks.

    >>> _pieces("the bias of `0` is lost")
    (('the bias of ', False), ('0', True), (' is lost', False))
    """
    return tuple((words, i % 2 == 1) for i, words in enumerate(message.split("`")) if words)


def _proof(proof: Proof) -> ProofLine:
    tone = _PROOF_TONES.get(proof.outcome, "open")
    return ProofLine(proof.code, place(proof.layer), proof_words(proof), proof.outcome, tone)


def figure(measured: Measured, uid: str) -> Figure:
    """A series as a figure: few features or classes by name, everything else as a line."""
    named = measured.over in ("features", "classes") and len(measured.labels) <= _MOST_CATEGORIES
    panel = _named(measured) if named and not measured.log else _line(measured)
    return Figure(uid, measured.name, "", (panel,))


def _named(measured: Measured) -> Panel:
    at = tuple(float(i) for i in range(len(measured.values)))
    dots = Series(measured.name, 1, "dots", at, measured.values)
    return Panel("", measured.over, "", (dots,), categories=measured.labels, from_zero=True, size="mini")


def _line(measured: Measured) -> Panel:
    steps = _numbers(measured.labels) if measured.over == "steps" else None
    at = steps or tuple(float(i) for i in range(1, len(measured.values) + 1))
    line = Series(measured.name, 1, "line", at, measured.values)
    ends = "" if steps or not measured.labels else f", {measured.labels[0]} to {measured.labels[-1]}"
    return Panel(
        "",
        measured.over + (ends if len(ends) <= _LONGEST_LABEL else ""),
        "",
        (line,),
        y_scale="log" if measured.log else "linear",
        size="mini",
    )


def _numbers(labels: Sequence[str]) -> tuple[float, ...] | None:
    try:
        return tuple(float(label.replace(",", "")) for label in labels)
    except ValueError:
        return None
