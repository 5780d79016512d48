"""Layers that no gradient reaches."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from normwise.diagnose.facts import Facts
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.structure import flow
from normwise.diagnose.subject import Setup
from normwise.monitor.signals import WEIGHTED
from normwise.results.diagnosis import Evidence, Finding

_EDGE = 1.15
"""Times the largest singular value that random weights of that spread have; trained weights are above."""

_OBSERVED = 3
"""Observations of a training, before a gradient of zero is one for good."""

_SHUT = 0.99
"""Share of dead units, or of flat entries: what these take away has rules of its own."""


@dataclass(frozen=True)
class _Layers:
    """Linear layers and convolutions in the order of calls.

    Attributes:
        names: of all.
        frozen: of those whose weight does not require a gradient.
        silent: of those whose weight requires one and gets none.
        behind: of each name, the names of those that read what it gives, however far; empty without a graph.
        beside: of each name, the names of those that read the same.
        orphans: those that read nothing that is known to come from the input: what came was no tensor on its way.
    """

    names: tuple[str, ...]
    frozen: tuple[str, ...]
    silent: tuple[str, ...]
    behind: dict[str, set[str]]
    beside: dict[str, set[str]]
    orphans: tuple[str, ...]

    def trains(self, name: str) -> bool:
        return name not in self.frozen and name not in self.silent


def _check(facts: Facts) -> Iterator[Found]:
    if facts.start is None:
        return
    model = facts.subject.model
    gradients = {state.name: state.weight_gradient_rms for state in facts.start.layers}
    names = (*(name for name in facts.silent if name not in gradients), *gradients)
    frozen = tuple(name for name in gradients if not _requires(model.get_submodule(name)))
    silent = tuple(name for name in names if gradients.get(name) is None and name not in frozen)
    layers = _Layers(names, frozen, silent, *_relations(facts, names))
    yield from _detached(layers)
    yield from _frozen(model, layers)
    yield from _left_out(facts, layers)
    yield from _flat(facts)


def _relations(
    facts: Facts, names: Collection[str]
) -> tuple[dict[str, set[str]], dict[str, set[str]], tuple[str, ...]]:
    """Of each layer those behind it, and those beside it; and who has lost the input."""
    behind: dict[str, set[str]] = {}
    beside: dict[str, set[str]] = {}
    found = flow(facts)
    if found is None:
        return behind, beside, ()
    steps = [step for step in found.steps if step.name in names and step.module is not None]
    for step in steps:
        read = {found.steps[index].name for index in found.behind(step)}
        behind.setdefault(step.name, set()).update(read.intersection(names))
        beside.setdefault(step.name, set()).update(s.name for s in steps if s.sources == step.sources)
    return behind, beside, tuple(step.name for step in steps if not step.sources)


def _detached(layers: _Layers) -> Iterator[Found]:
    """Weights that are to train, give something to layers that do, and get no gradient from these."""
    none = not any(map(layers.trains, layers.names))
    cut = [
        name
        for name in layers.silent
        # A second head that the loss does not look at is no fault of the layers.
        if none
        or not layers.behind
        or any(map(layers.trains, layers.behind.get(name, ())))
        or any(map(layers.trains, layers.orphans))
    ]
    if cut:
        yield Found(
            cut[-1],
            f"{len(cut)} of {len(layers.names)} layers get no gradient: it ends behind `{cut[-1]}`",
            0.97,
            (Evidence("layers without gradient", float(len(cut)), "0"),),
            remedy=f"look behind `{cut[-1]}` for detach(), .data, torch.no_grad() or a conversion to numpy",
            also=tuple(cut[:-1]),
        )


def _frozen(model: nn.Module, layers: _Layers) -> Iterator[Found]:
    """Layers whose weights are not to train, and who are no trained beginning of the network."""
    frozen = tuple(name for name in layers.frozen if _belongs(name, layers))
    if not frozen:
        return
    random = all(_looks_random(model.get_submodule(name)) for name in frozen)
    beginning = frozen == layers.names[: len(frozen)]
    few = 2 * _weights(model, frozen) <= _weights(model, layers.names)
    # A backbone that was trained before is kept as it is, and what adapters are put between is most of the weights.
    if random or (few and not beginning):
        yield Found(
            frozen[0],
            f"{len(frozen)} of {len(layers.names)} layers do not train (requires_grad=False)"
            + (", and their weights are random" if random else ""),
            0.9 if random else 0.6,
            (Evidence("frozen layers", float(len(frozen)), "0, or a beginning that was trained"),),
            remedy="let them train: requires_grad_(True)",
            code_lines=tuple(f"model.get_submodule({name!r}).requires_grad_(True)" for name in frozen),
            applicability="changes training",
            also=frozen[1:],
        )


def _belongs(name: str, layers: _Layers) -> bool:
    """Whether a layer stands before or behind one that trains, as no teacher does, and has no adapter beside it."""
    if any(map(layers.trains, layers.beside.get(name, ()))):
        return False
    after = any(map(layers.trains, layers.behind.get(name, ())))
    before = any(name in read for other, read in layers.behind.items() if layers.trains(other))
    return not layers.behind or after or before


def _weights(model: nn.Module, names: Collection[str]) -> int:
    return sum(p.numel() for name in names for p in model.get_submodule(name).parameters())


def _left_out(facts: Facts, layers: _Layers) -> Iterator[Found]:
    """Weights that the optimizer does not have, though they are to train."""
    optimizer = facts.subject.optimizer
    if optimizer is None:
        return
    # A warm-up begins with a rate of 0 for all; where some have one, the others are left out.
    rates = [float(group["lr"]) or float(group.get("initial_lr", 0.0)) for group in optimizer.param_groups]
    moving = [group for group, rate in zip(optimizer.param_groups, rates, strict=True) if rate]
    moving = moving or optimizer.param_groups
    held = {id(p) for group in moving for p in group["params"]}
    model = facts.subject.model
    missing = [
        name
        for name in layers.names
        if name not in layers.frozen
        and all(id(p) not in held for p in _weights_of(model.get_submodule(name)))
    ]
    beginning = tuple(missing) == layers.names[: len(missing)] and len(missing) < len(layers.names)
    biases = any(id(p) in held for name in missing for p in model.get_submodule(name).parameters())
    # A beginning that was trained before is left as it is, and so are weights of which the biases alone are tuned.
    random = (beginning or biases) and all(_looks_random(model.get_submodule(name)) for name in missing)
    if missing and (random or not (beginning or biases)):
        whole = len(missing) == len(layers.names)
        yield Found(
            missing[0],
            f"the optimizer moves the weights of {len(layers.names) - len(missing)} of {len(layers.names)} layers"
            + (", and those that it does not move are random" if random else ""),
            0.95 if whole else 0.8,
            (Evidence("layers that the optimizer does not move", float(len(missing)), "0"),),
            remedy="make the optimizer from the parameters of this model, after all of its layers are there, with a "
            "learning rate for each group",
            also=tuple(missing[1:]),
        )


def _flat(facts: Facts) -> Iterator[Found]:
    """Weights whose gradient is zero from the first step to the last, with nothing dead or flat at an activation."""
    run = facts.run
    seen = [] if run is None else [observation for _, observation in run.observed if observation.finite]
    if len(seen) < _OBSERVED:
        return
    zero = set.intersection(*({s.name for s in each.layers if s.weight_gradient_rms == 0} for each in seen))
    shut = any(
        (s.dead or 0) >= _SHUT or (s.flat or 0) >= _SHUT or not s.weight_rms for e in seen for s in e.layers
    )
    names = tuple(state.name for state in seen[-1].layers if state.name in zero)
    if not names or shut:
        return
    yield Found(
        names[-1],
        f"the gradient of {len(names)} of {len(seen[-1].layers)} layers is exactly zero throughout the training: what "
        f"comes behind `{names[-1]}` has no slope",
        0.95,
        (Evidence("layers with a gradient of zero", float(len(names)), "0"),),
        remedy=f"look behind `{names[-1]}`, and into the loss, for round(), a comparison, argmax() or a factor of zero",
        also=names[:-1],
    )


def _weights_of(layer: nn.Module) -> list[nn.Parameter]:
    """The parameters but the biases; all where there are only such."""
    named = list(layer.named_parameters())
    return [p for name, p in named if "bias" not in name] or [p for _, p in named]


def _requires(layer: nn.Module) -> bool:
    return any(p.requires_grad for p in _weights_of(layer))


def _looks_random(layer: nn.Module) -> bool:
    """Whether singular values are those of independent weights: at most σ(√rows + √columns), nearly (Marchenko–Pastur).

    Training leaves directions that stick out of that.
    """
    weight: Any = getattr(layer, "weight", None)
    if not isinstance(layer, WEIGHTED) or not isinstance(weight, Tensor) or not weight.is_floating_point():
        return False
    matrix = weight.detach().float().flatten(1)
    edge = float(matrix.square().mean().sqrt()) * (matrix.shape[0] ** 0.5 + matrix.shape[1] ** 0.5)
    return bool(torch.linalg.matrix_norm(matrix, 2) <= _EDGE * edge)


def _fix(setup: Setup, finding: Finding) -> Setup:
    for name in (finding.layer, *finding.also):
        setup.model.get_submodule(name).requires_grad_(True)
    return setup


RULE = Rule(
    code="NW304",
    name="nothing-trains",
    summary="Layers that do not train: frozen while random, detached, behind a step function, or not in the optimizer.",
    why=(
        "What gets no gradient stays at its random start. The layers behind it can still lower the loss, so that the "
        "training looks slow rather than broken."
    ),
    bad="logits = self.head(self.body(x).detach())",
    good="logits = self.head(self.body(x))",
    check=_check,
    needs=frozenset({"batch"}),
    explains=frozenset({"NW501", "NW503", "NW507", "NW509"}),
    fix=_fix,
    source="torch.Tensor.detach, torch.nn.Module.requires_grad_; Marchenko & Pastur 1967 for random matrices",
)
