"""Findings that somebody has looked at and lives with, each with the reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from normwise.results.diagnosis import Check, Diagnosis, Finding


@dataclass(frozen=True)
class Suppression:
    """Of a rule at some layers.

    Attributes:
        rule: its code or name.
        layer: a pattern of layers' names, such as "blocks.*"; "*" for all, and for the training as a whole.
        reason: why the findings may stay.
    """

    rule: str
    layer: str
    reason: str

    def is_of(self, found: Finding | Check) -> bool:
        """Whether it speaks of that rule."""
        return self.rule.upper() == found.code or self.rule == found.rule

    def takes(self, finding: Finding, layer: str) -> bool:
        """Whether it suppresses the finding at one of its layers."""
        return self.is_of(finding) and fnmatchcase(layer, self.layer)


def suppressed(diagnosis: Diagnosis, rules: Sequence[Suppression]) -> Diagnosis:
    """A diagnosis without the findings that are suppressed: they are counted in the notes, and their checks tell why.

    Of a finding at several layers the others are left. What followed from a suppressed finding stands for itself
    afterwards. A suppression that matches nothing is told, unless its rule was not asked.

    >>> finding = Finding("NW101", "bias-before-norm", "blocks.0", "…", 1.0)
    >>> check = Check("NW101", "bias-before-norm", "found")
    >>> before = Diagnosis("net", (), (), (finding,), (check,))
    >>> after = suppressed(before, [Suppression("NW101", "blocks.*", "pretrained")])
    >>> after.findings, after.checks[0].status, after.notes
    ((), 'suppressed', ('suppressed: NW101 at blocks.0 (pretrained)',))
    """
    left = tuple(kept for finding in diagnosis.findings for kept in _left(finding, rules))
    codes = {finding.code for finding in _all(left)}
    return replace(
        diagnosis,
        findings=left,
        checks=tuple(_check(check, rules, codes) for check in diagnosis.checks),
        notes=(*diagnosis.notes, *_notes(diagnosis, rules)),
    )


def _left(finding: Finding, rules: Sequence[Suppression]) -> tuple[Finding, ...]:
    """The finding without its suppressed layers and dependents; its dependents alone where no layer is left."""
    below = tuple(kept for each in finding.dependents for kept in _left(each, rules))
    layers = (finding.layer, *finding.also)
    at = [i for i, layer in enumerate(layers) if not any(rule.takes(finding, layer) for rule in rules)]
    if not at:
        return below
    if len(at) == len(layers):
        return (replace(finding, dependents=below),)
    code = finding.code_lines
    return (
        replace(
            finding,
            layer=layers[at[0]],
            # The sentence and its numbers are those of the first layer, whether it is suppressed or not.
            message=finding.message if at[0] == 0 else f"{finding.message} (suppressed there)",
            also=tuple(layers[i] for i in at[1:]),
            code_lines=tuple(code[i] for i in at) if len(code) == len(layers) else code,
            dependents=below,
        ),
    )


def _all(findings: Sequence[Finding]) -> Iterator[Finding]:
    for finding in findings:
        yield finding
        yield from _all(finding.dependents)


def _check(check: Check, rules: Sequence[Suppression], left: set[str]) -> Check:
    reasons = dict.fromkeys(rule.reason for rule in rules if rule.is_of(check))
    if check.status != "found" or not reasons or check.code in left:
        return check
    return replace(check, status="suppressed", why="; ".join(reasons))


def _notes(diagnosis: Diagnosis, rules: Sequence[Suppression]) -> Iterator[str]:
    findings = list(_all(diagnosis.findings))
    asked = [check for check in diagnosis.checks if check.status in ("found", "clear")]
    for rule in rules:
        taken = [
            (finding.code, layer or "the training")
            for finding in findings
            for layer in (finding.layer, *finding.also)
            if rule.takes(finding, layer)
        ]
        if taken:
            places = ", ".join(layer for _, layer in taken)
            yield f"suppressed: {taken[0][0]} at {places} ({rule.reason})"
        elif any(rule.is_of(check) for check in asked):
            yield f"the suppression of {rule.rule} at {rule.layer!r} matches nothing: take it out"
