"""Ask every rule, and rank what it found."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from normwise.diagnose.facts import Facts
from normwise.diagnose.given import as_batch, as_data, as_model
from normwise.diagnose.measure import default_loss, measure
from normwise.diagnose.rank import ranked
from normwise.diagnose.rule import NEEDS, Rule
from normwise.diagnose.rules import all_rules
from normwise.diagnose.subject import Loss, OptimizerChoice, Setup, Subject
from normwise.diagnose.vitals import vitals
from normwise.errors import unknown_name
from normwise.results.diagnosis import Check, Diagnosis, Finding

_MADE_UP = 32
"""Rows of a random batch."""


def diagnose(
    model: nn.Module,
    batch: Any = None,
    loss: Loss | None = None,
    *,
    shape: Sequence[int] | None = None,
    optimizer: Optimizer | None = None,
    data: Any = None,
    steps: int = 200,
    batch_size: int | None = None,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
) -> Diagnosis:
    """Say why a network trains badly: which layer, what evidence, what remedy. The model is as before afterwards.

    What is given decides what is asked: with `shape` alone the structure and the flow of gradients at initialization,
    on random input; with a batch also what it says of data and statistics; with `data` a short training is watched.

    Args:
        model: any module; with `batch` or `shape` one that takes a tensor.
        batch: (inputs, targets), or inputs alone; inputs as the model takes them: a tensor, a tuple of arguments, or a
            dict of named ones.
        loss: loss(output, targets) → scalar; None for cross-entropy of integer targets and squared error of others.
        shape: of one sample, for a random batch where there is no other.
        optimizer: that trains the model; read, not stepped.
        data: for a short training of a copy: (inputs, targets), of which a fifth is held out; two such pairs, for
            training and validation; a `Dataset` or `DataLoader` of such pairs, or two of them; or a `Data`. Inputs are
            one tensor; at most 16,384 samples of a data set are drawn, or the first of a loader taken.
        steps: of the short training.
        batch_size: of the short training; None for the loader's, else for that of `batch`, else 64.
        select: codes, names or prefixes of rules, such as "NW1"; all where it is empty.
        ignore: the same for those that are left out.

    Returns:
        Findings, root causes first, and what was checked.

    Raises:
        ArgumentError: (a ValueError) the model does not run on what is given.
        UnknownNameError: `select` or `ignore` names no rule.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    >>> [finding.rule for finding in diagnose(net, shape=(4,)).findings]
    ['bias-before-norm']
    """
    model = as_model(model)
    inputs, targets = as_batch(batch)
    data, loaded = (None, None) if data is None else as_data(data)
    given = len(targets) if targets is not None else None
    made_up = False
    if inputs is None and data is not None:
        inputs, targets = data.inputs[:256], data.targets[:256]
    if inputs is None and shape is not None:
        generator = torch.Generator().manual_seed(0)
        inputs, made_up = torch.randn(_MADE_UP, *shape, generator=generator), True
        targets = _made_up_targets(model, inputs)
    if loss is None and targets is not None:
        loss = default_loss(targets)
    choice = OptimizerChoice() if optimizer is None else OptimizerChoice.of(optimizer, model)
    size = min(batch_size or loaded or given or 64, len(data.inputs)) if data is not None else _MADE_UP
    setup = None if loss is None or data is None else Setup(model, choice, size, loss, example=inputs)
    subject = Subject(
        model, type(model).__name__, inputs, targets, loss, made_up, optimizer, setup, data, None, steps
    )
    return examine(subject, select=select, ignore=ignore)


def examine(subject: Subject, *, select: Sequence[str] = (), ignore: Sequence[str] = ()) -> Diagnosis:
    """As `diagnose`, of a subject that is already put together."""
    began = time.perf_counter()
    rules = chosen(select, ignore)
    facts = measure(subject)
    findings, checks = asked(rules, facts)
    return Diagnosis(
        subject.title,
        _measured(facts),
        vitals(facts),
        ranked(findings, {rule.code: rule.explains for rule in rules}),
        checks,
        notes=_notes(facts),
        seconds=time.perf_counter() - began,
    )


def chosen(select: Sequence[str], ignore: Sequence[str]) -> tuple[Rule, ...]:
    """The rules of these codes, names or prefixes of codes.

    Raises:
        UnknownNameError: one of them stands for no rule.
    """
    rules = all_rules()
    for word in (*select, *ignore):
        if not any(_stands_for(word, rule) for rule in rules):
            known = [name for rule in rules for name in (rule.code, rule.name)]
            raise unknown_name("diagnose", "rule", word, known)
    wanted = [rule for rule in rules if not select or any(_stands_for(word, rule) for word in select)]
    return tuple(rule for rule in wanted if not any(_stands_for(word, rule) for word in ignore))


def _stands_for(word: str, rule: Rule) -> bool:
    return word == rule.name or (word.upper().startswith("NW") and rule.code.startswith(word.upper()))


def asked(rules: Iterable[Rule], facts: Facts) -> tuple[list[Finding], tuple[Check, ...]]:
    """What the rules found, and of each whether it was asked."""
    findings: list[Finding] = []
    checks: list[Check] = []
    have = facts.have
    for rule in rules:
        missing = [need for need in NEEDS if need in rule.needs and need not in have]
        if missing:
            why = f"needs {' and '.join(NEEDS[need] for need in missing)}"
            checks.append(Check(rule.code, rule.name, "not checked", why))
            continue
        found = [Finding(rule.code, rule.name, **_fields(each)) for each in rule.check(facts)]
        findings += found
        checks.append(Check(rule.code, rule.name, "found" if found else "clear"))
    return findings, tuple(checks)


def _fields(found: Any) -> dict[str, Any]:
    return {name: getattr(found, name) for name in found.__dataclass_fields__}


def _measured(facts: Facts) -> tuple[str, ...]:
    parts = {
        "structure": True,
        "initialization": facts.start is not None,
        "batch": facts.start is not None and not facts.subject.made_up,
        "training": facts.run is not None,
    }
    return tuple(name for name, there in parts.items() if there)


def _notes(facts: Facts) -> tuple[str, ...]:
    notes = []
    if facts.subject.made_up:
        notes.append("no data: the input is random, and so are the targets")
    if facts.run is not None and not facts.subject.model.training:
        notes.append("the model came in evaluation mode; the short training sets it to training")
    if facts.untraced and facts.subject.inputs is not None:
        notes.append(f"not traced: {facts.untraced}")
    return tuple(notes)


def _made_up_targets(model: nn.Module, inputs: Tensor) -> Tensor | None:
    """Classes for scores (N, C), zeros for anything else."""
    from normwise.monitor.preserve import preserved

    with preserved(model, training=False), torch.no_grad():
        output = model(inputs)
    if not isinstance(output, Tensor):
        return None
    generator = torch.Generator().manual_seed(1)
    if output.dim() == 2 and output.shape[1] > 1:
        return torch.randint(output.shape[1], (len(inputs),), generator=generator)
    return torch.randn(output.shape, generator=generator)
