"""Remedies applied: to a copy of the model, and to the values beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from normwise.diagnose.remedies.setup import copied, inputs_of
from normwise.diagnose.rule import Rule
from normwise.diagnose.rules import all_rules
from normwise.diagnose.subject import Setup
from normwise.errors import ArgumentError, explain, unknown_name
from normwise.results.diagnosis import Diagnosis, Finding
from normwise.surgery._runs import check_runs


@dataclass(frozen=True, eq=False)
class Fixed:
    """A setup after the remedies of a diagnosis.

    Attributes:
        setup: with a model of its own.
        applied: the findings whose remedies are in it, in that order.
        left: the others, each with the reason.
    """

    setup: Setup
    applied: tuple[Finding, ...]
    left: tuple[tuple[Finding, str], ...]


def apply(setup: Setup, finding: Finding, *, seed: int = 0) -> Setup:
    """Apply the remedy of a finding to a copy of the model; the given one is never touched.

    What comes back runs in both modes on a batch of the setup's example, as far as there is one.

    Args:
        setup: the training that the finding was made of; its `example` is what remedies look at.
        finding: whose remedy is applied.
        seed: of weights that the remedy draws.

    Raises:
        UnknownNameError: no rule has the finding's code.
        ArgumentError: (a ValueError) the remedy is advice, the model cannot take it, or does not run with it.
    """
    rule = _rule_of(finding)
    if rule.fix is None or finding.applicability == "advice":
        must, got = "the remedy must be one that can be applied", f"advice for {_place(finding)}"
        raise ArgumentError(explain("fix", must, got, finding.remedy or None))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            fixed = rule.fix(copied(setup), finding)
        except (AttributeError, KeyError) as error:  # a layer that the model has not, or not any more
            must = "the model must be the one that was diagnosed"
            raise ArgumentError(explain("fix", must, f"{type(error).__name__}: {error}")) from error
    try:
        fixed.optimizer.make(fixed.model)
    except (TypeError, ValueError) as error:
        must = f"{fixed.optimizer.name} must take the parameters and options of the remedy"
        raise ArgumentError(explain("fix", must, f"{type(error).__name__}: {error}")) from error
    if fixed.example is not None:
        how, hint = f"with the remedy of {finding.code}", "write the remedy by hand"
        batch = inputs_of(fixed, "fix")[: fixed.batch_size]
        check_runs("fix", fixed.model, batch, how=how, hint=hint)
    return fixed


def apply_all(setup: Setup, diagnosis: Diagnosis, *, unsafe: bool = False, seed: int = 0) -> Fixed:
    """Apply the safe remedies of a diagnosis one after the other; with `unsafe`, then those that change training.

    A remedy that changes training is applied of root causes alone: what follows from a cause may be gone with it.

    Args:
        setup: the training that the diagnosis was made of; its model stays as it is.
        diagnosis: whose findings are gone through, dependents among them.
        unsafe: apply remedies that change training, too.
        seed: of weights that remedies draw.
    """
    everything = [(finding, root) for root in diagnosis.findings for finding in _family(root)]
    applied: list[Finding] = []
    left: list[tuple[Finding, str]] = []
    work = copied(setup)
    # Stable: within both halves the order of the diagnosis stays.
    for finding, root in sorted(everything, key=lambda pair: pair[0].applicability != "safe"):
        why = _held_back(finding, root, unsafe=unsafe)
        if not why:
            try:
                work = apply(work, finding, seed=seed)
            except ArgumentError as error:
                why = str(error)
        if why:
            left.append((finding, why))
        else:
            applied.append(finding)
    return Fixed(work, tuple(applied), tuple(left))


def applicable(finding: Finding) -> bool:
    """Whether a finding has a remedy that is more than advice.

    Raises:
        UnknownNameError: no rule has its code.
    """
    return finding.applicability != "advice" and _rule_of(finding).fix is not None


def _rule_of(finding: Finding) -> Rule:
    known = {rule.code: rule for rule in all_rules()}
    if finding.code not in known:
        raise unknown_name("fix", "rule", finding.code, known)
    return known[finding.code]


def _held_back(finding: Finding, root: Finding, *, unsafe: bool) -> str:
    """Why a remedy is not even tried; "" where it is."""
    if not applicable(finding):
        return "it is advice"
    if finding.applicability == "safe":
        return ""
    if not unsafe:
        return "it changes training, and is applied only where that is asked for"
    if finding is not root:
        return f"it follows from {_place(root)}: diagnose again after that remedy"
    return ""


def _family(finding: Finding) -> Iterator[Finding]:
    yield finding
    for dependent in finding.dependents:
        yield from _family(dependent)


def _place(finding: Finding) -> str:
    return f"{finding.code} at `{finding.layer}`" if finding.layer else finding.code
