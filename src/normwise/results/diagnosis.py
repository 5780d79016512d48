"""What a diagnosis found: findings with their evidence, what was checked, and what a trial of the remedies showed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from normwise.results.diagnosis_text import text
from normwise.results.estimate import Estimate

DIAGNOSIS_SCHEMA = 1
"""Raised whenever the meaning of a field changes."""

Applicability = Literal["safe", "changes training", "advice"]
"""Of a remedy: nothing but the fault changes; training becomes another; words alone."""

Outcome = Literal["helps", "no difference", "hurts", "undecided"]


@dataclass(frozen=True)
class Evidence:
    """A number that a finding rests on.

    Attributes:
        name: what was measured, such as "dead units".
        value: what came; None where it is not finite.
        expected: what it is held against, in words, such as "at most 50 %".
        unit: "", "%", "σ", "decades", …
    """

    name: str
    value: float | None
    expected: str
    unit: str = ""


@dataclass(frozen=True)
class Series:
    """A small figure: values over steps or over layers.

    Attributes:
        name: what it shows.
        over: "steps", "layers", "features" or "classes".
        labels: of the values.
        values: None where nothing could be measured.
        log: whether the values are shown on a logarithmic scale.
    """

    name: str
    over: str
    labels: tuple[str, ...]
    values: tuple[float | None, ...]
    log: bool = False


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a network or its training.

    Attributes:
        code: of the rule, such as "NW101".
        rule: its name, such as "bias-before-norm".
        layer: the dotted name of the module that is at fault; "" for the training as a whole.
        message: one sentence with the numbers that matter.
        confidence: 0 to 1; 1 for what is certain from the structure.
        evidence: the numbers.
        figures: what people would rather see.
        remedy: what to do, in words.
        code_lines: the remedy as lines of code to write; empty for advice.
        applicability: whether the remedy can be applied, and what else it changes.
        also: further layers that have the same fault.
        dependents: findings that this one explains.
    """

    code: str
    rule: str
    layer: str
    message: str
    confidence: float
    evidence: tuple[Evidence, ...] = ()
    figures: tuple[Series, ...] = ()
    remedy: str = ""
    code_lines: tuple[str, ...] = ()
    applicability: Applicability = "advice"
    also: tuple[str, ...] = ()
    dependents: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Check:
    """A rule that was asked, or why it was not.

    Attributes:
        code: of the rule.
        rule: its name.
        status: "found", "clear", "suppressed" or "not checked".
        why: of what was not checked, or was suppressed, the reason.
    """

    code: str
    rule: str
    status: Literal["found", "clear", "suppressed", "not checked"]
    why: str = ""


@dataclass(frozen=True)
class Vital:
    """One of the three lines on top: slow? unstable gradients? sensitive to initialization?

    Attributes:
        question: such as "unstable gradients?".
        answer: "yes", "no" or "not measured".
        detail: the number behind it, in words; the reason where nothing was measured.
    """

    question: str
    answer: Literal["yes", "no", "not measured"]
    detail: str


@dataclass(frozen=True)
class Proof:
    """A paired trial of a remedy, of no change and of another learning rate alone.

    Attributes:
        code: of the finding whose remedy it was.
        layer: where.
        remedy: in words.
        outcome: "helps", "no difference", "hurts" or "undecided", against the better of the two controls.
        effect: on the held-out metric; positive is better.
        metric: its name.
        control: "no change" or "learning rate ×0.3": the better control.
        seeds: of the trial.
        steps: of each training.
    """

    code: str
    layer: str
    remedy: str
    outcome: Outcome
    effect: Estimate
    metric: str
    control: str
    seeds: int
    steps: int


@dataclass(frozen=True)
class Diagnosis:
    """The answer to: why does this network train badly?

    Attributes:
        subject: the network in words.
        measured: what there was to look at: "structure", "initialization", "batch", "training".
        vitals: the three lines on top.
        findings: root causes first, each with its dependents.
        checks: of every rule.
        proofs: what a trial showed; empty unless it was asked for.
        notes: what holds for the whole.
        seconds: that it took.
        schema: the version of this record.
    """

    subject: str
    measured: tuple[str, ...]
    vitals: tuple[Vital, ...]
    findings: tuple[Finding, ...]
    checks: tuple[Check, ...]
    proofs: tuple[Proof, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    schema: int = DIAGNOSIS_SCHEMA

    def __str__(self) -> str:
        """All of it in words, without colors."""
        return text(self)
