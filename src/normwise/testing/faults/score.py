"""How well a diagnosis does on the collection: what it detects, names and places, and how often it is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from normwise.compare.stats.proportion import wilson
from normwise.diagnose.api import examine
from normwise.diagnose.subject import Subject
from normwise.results import Interval
from normwise.results.diagnosis import Finding
from normwise.testing.faults.collection import Case

FIRST = 2
"""Findings among which the right one has to be."""

Diagnose = Callable[[Subject], Sequence[Finding]]
"""A tool under test: findings in order, root causes first."""


@dataclass(frozen=True)
class Answer:
    """What a tool said of a case.

    Attributes:
        case: its name.
        findings: (code, layer) in order, without what is folded under another finding.
        folded: (code, layer) of those.
        seconds: that it took.
        error: what it raised; "" where it ran.
    """

    case: str
    findings: tuple[tuple[str, str], ...]
    folded: tuple[tuple[str, str], ...]
    seconds: float
    error: str = ""


@dataclass(frozen=True)
class Judged:
    """What an answer on a faulty program is worth.

    Attributes:
        case: its name.
        fault, family, architecture: of it.
        detected: there is a finding that the clean twin does not have.
        named: one of the first two findings has a code of the fault.
        placed: one of the first two findings gives a place of the fault; None for a fault of the training as a whole.
    """

    case: str
    fault: str
    family: str
    architecture: str
    detected: bool
    named: bool
    placed: bool | None


@dataclass(frozen=True)
class Rate:
    """So many of so many."""

    hits: int
    of: int

    @property
    def share(self) -> float:
        """0 where there is nothing."""
        return self.hits / self.of if self.of else 0.0

    @property
    def interval(self) -> Interval:
        """Wilson's, at 95 %."""
        return wilson(self.hits, self.of)

    def __str__(self) -> str:
        low, high = self.interval.low or 0.0, self.interval.high or 0.0
        return f"{self.hits}/{self.of} = {100 * self.share:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def own(subject: Subject) -> Sequence[Finding]:
    """This package's diagnosis."""
    return examine(subject).findings


def answer(case: Case, diagnose: Diagnose = own) -> Answer:
    """Ask a tool about a case; an exception is an answer, too."""
    subject = case.subject()
    began = time.perf_counter()
    try:
        findings = diagnose(subject)
    except Exception as error:  # of any tool
        return Answer(
            case.name, (), (), time.perf_counter() - began, f"{type(error).__name__}: {error}"[:300]
        )
    folded = [(each.code, each.layer) for finding in findings for each in _below(finding)]
    roots = tuple((finding.code, finding.layer) for finding in findings)
    return Answer(case.name, roots, tuple(folded), time.perf_counter() - began)


def _below(finding: Finding) -> list[Finding]:
    return [each for child in finding.dependents for each in (child, *_below(child))]


def judge(case: Case, given: Answer, twin: Answer) -> Judged:
    """Hold an answer against what is known of a faulty case, and against the answer on its clean twin."""
    fault = case.fault
    assert fault is not None
    known = {*twin.findings, *twin.folded}
    first = given.findings[:FIRST]
    placed = None if "" in case.layers else any(layer in case.layers for _, layer in first)
    return Judged(
        case.name,
        fault.name,
        fault.family,
        case.program.architecture,
        any(each not in known for each in (*given.findings, *given.folded)),
        any(code in fault.codes for code, _ in first),
        placed,
    )


def rates(judged: Iterable[Judged]) -> dict[str, Rate]:
    """Detection, naming and localisation.

    >>> one = Judged("a", "a", "state", "mlp", True, True, None)
    >>> {name: str(rate)[:3] for name, rate in rates([one]).items()}
    {'detected': '1/1', 'named': '1/1', 'placed': '0/0'}
    """
    each = list(judged)
    with_layer = [j for j in each if j.placed is not None]
    return {
        "detected": Rate(sum(j.detected for j in each), len(each)),
        "named": Rate(sum(j.named for j in each), len(each)),
        "placed": Rate(sum(bool(j.placed) for j in with_layer), len(with_layer)),
    }


def split_rates(judged: Sequence[Judged], by: str) -> dict[str, dict[str, Rate]]:
    """`rates` for each "family", "architecture" or "fault"."""
    groups = dict.fromkeys(getattr(j, by) for j in judged)
    return {group: rates(j for j in judged if getattr(j, by) == group) for group in groups}


def false_alarms(answers: Iterable[Answer]) -> Rate:
    """Of healthy programs, those with any finding; one on which the tool fails is among them."""
    each = list(answers)
    return Rate(sum(bool(a.findings or a.error) for a in each), len(each))


def alarms_by_code(answers: Iterable[Answer]) -> Mapping[str, int]:
    """How many programs each code is found on, the most frequent first."""
    counts: dict[str, int] = {}
    for given in answers:
        for code in dict.fromkeys(code for code, _ in given.findings):
            counts[code] = counts.get(code, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
