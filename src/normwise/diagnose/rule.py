"""What a rule is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from normwise.diagnose.facts import Facts
from normwise.diagnose.subject import Setup
from normwise.results.diagnosis import Applicability, Evidence, Finding, Series
from normwise.results.diagnosis_words import FAMILIES

NEEDS = {
    "graph": "an input of its shape (--shape, or a batch)",
    "batch": "a batch with targets, or made-up ones (--shape)",
    "real": "a batch of real data",
    "optimizer": "the optimizer",
    "inputs": "inputs and targets of real samples",
    "data": "training data (--data, data=)",
    "run": "a short training (--data, data=)",
}
"""What a rule can need, and where it comes from."""


@dataclass(frozen=True)
class Found:
    """What a rule says of a place; see `Finding`."""

    layer: str
    message: str
    confidence: float
    evidence: tuple[Evidence, ...] = ()
    figures: tuple[Series, ...] = ()
    remedy: str = ""
    code_lines: tuple[str, ...] = ()
    applicability: Applicability = "advice"
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """A check with its reasons; each stands in a file of its own, as `RULE`.

    Attributes:
        code: NW1xx structure, NW2xx numerics, NW3xx state, NW4xx data, NW5xx dynamics.
        name: in words with hyphens.
        summary: what it finds, in a line.
        why: why that is bad.
        bad: code that has the fault.
        good: the same without.
        check: facts → what was found; nothing where all is well.
        needs: names in `NEEDS`; without one of them it is not asked.
        explains: codes of findings that follow from this one, and are folded under it.
        fix: applies the remedy: a setup with a copy of the model, and the finding → another setup; None for advice.
        source: where the rule, or its threshold, comes from.
    """

    code: str
    name: str
    summary: str
    why: str
    bad: str
    good: str
    check: Callable[[Facts], Iterable[Found]]
    needs: frozenset[str] = frozenset()
    explains: frozenset[str] = frozenset()
    fix: Callable[[Setup, Finding], Setup] | None = None
    source: str = ""

    @property
    def family(self) -> str:
        """Of its code."""
        return FAMILIES[self.code[2]]
