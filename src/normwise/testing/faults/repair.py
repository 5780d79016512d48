"""Do remedies that were called proven still help on fresh seeds, and more than one drawn at random?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import fmean

from normwise.diagnose import fix
from normwise.diagnose.api import examine
from normwise.diagnose.prove import prove
from normwise.diagnose.subject import OptimizerChoice, Setup, Subject
from normwise.diagnose.trial import Change, outcomes
from normwise.results.diagnosis import Finding
from normwise.testing.faults.collection import Case
from normwise.testing.faults.program import pick
from normwise.testing.faults.score import FIRST

FRESH = 5000
"""First of the seeds that repeat a trial: far from those that judge and those that choose a learning rate."""


@dataclass(frozen=True)
class Repair:
    """A remedy that a trial said helps, tried again.

    Attributes:
        case: its name.
        code, layer: of the finding.
        again: a second trial, on fresh seeds, says so, too.
        gain: of the held-out metric on the fresh seeds, against no change.
        beyond_random: the same against a remedy drawn at random.
    """

    case: str
    code: str
    layer: str
    again: bool
    gain: float
    beyond_random: float


def repairs(case: Case, *, seeds: int = 5) -> tuple[Repair, ...]:
    """Diagnose a case, prove the remedies of the first findings, and try those that help once more.

    Args:
        case: with a fault.
        seeds: of each trial, at least 5.
    """
    subject = case.subject()
    found = {(each.code, each.layer): each for each in examine(subject).findings[:FIRST]}
    proofs = prove(subject, found.values(), seeds=seeds)
    helping = [found[proof.code, proof.layer] for proof in proofs if proof.outcome == "helps"]
    return tuple(_tried_again(case, subject, finding, seeds) for finding in helping)


def _tried_again(case: Case, subject: Subject, finding: Finding, seeds: int) -> Repair:
    fresh = range(FRESH, FRESH + seeds)
    (proof,) = prove(subject, [finding], seeds=seeds, first_seed=FRESH)

    def mean(change: Change) -> float:
        return fmean(outcomes(subject, change, fresh, subject.steps))

    with_remedy = mean(lambda setup, seed: fix.apply(setup, finding, seed=seed))
    return Repair(
        case.name,
        finding.code,
        finding.layer,
        proof.outcome == "helps",
        with_remedy - mean(lambda setup, _: setup),
        with_remedy - mean(lambda setup, _: random_remedy(setup, case.name)),
    )


def random_remedy(setup: Setup, text: str) -> Setup:
    """A change that people make to any training that does not work, chosen by a hash of a text."""
    remedies: tuple[Callable[[], Setup], ...] = (
        lambda: replace(setup, clip=1.0),
        lambda: replace(setup, batch_size=2 * setup.batch_size),
        lambda: replace(setup, optimizer=setup.optimizer.with_options(weight_decay=1e-3)),
        lambda: replace(setup, optimizer=OptimizerChoice("Adam", 1e-3)),
    )
    change: Callable[[], Setup] = pick(remedies, text)
    return change()
