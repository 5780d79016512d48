"""A diagnosis as annotations of GitHub: one warning a finding, at the source of the model."""

from __future__ import annotations

from normwise.results.diagnosis import Diagnosis, Finding
from normwise.results.diagnosis_words import help_words, place


def diagnosis_to_github(diagnosis: Diagnosis, file: str = "", line: int = 0) -> str:
    """One workflow command for each finding; nothing for a clean diagnosis.

    Args:
        diagnosis: the answer.
        file: the source of the model, relative to the repository; "" where it is not known.
        line: in it, from 1 on; 0 where it is not known.

    >>> finding = Finding("NW101", "bias-before-norm", "body.0", "the bias is subtracted again", 1.0)
    >>> diagnosis_to_github(Diagnosis("net", (), (), (finding,), ()), "net.py", 12)
    '::warning file=net.py,line=12,title=NW101 bias-before-norm::body.0: the bias is subtracted again'
    """
    return "\n".join(_warning(finding, file, line) for finding in diagnosis.findings)


def _warning(finding: Finding, file: str, line: int) -> str:
    properties = {
        "file": file,
        "line": str(line) if file and line else "",
        "title": f"{finding.code} {finding.rule}",
    }
    given = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
    return f"::warning {given}::{_data(_message(finding))}"


def _message(finding: Finding) -> str:
    parts = [f"{place(finding.layer)}: {finding.message}"]
    if finding.also:
        parts.append(f"also {', '.join(finding.also)}")
    if finding.remedy:
        parts.append(f"help: {help_words(finding)}")
    parts += finding.code_lines
    parts += [f"explains {below.code} at {place(below.layer)}" for below in finding.dependents]
    return "\n".join(parts)


def _data(text: str) -> str:
    for sign, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A")):
        text = text.replace(sign, code)
    return text


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
