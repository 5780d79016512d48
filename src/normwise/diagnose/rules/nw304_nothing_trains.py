"""Layers that no gradient reaches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from normwise.diagnose.facts import Facts
from normwise.diagnose.rule import Found, Rule
from normwise.diagnose.subject import Setup
from normwise.monitor.signals import WEIGHTED
from normwise.results.diagnosis import Evidence, Finding

_EDGE = 1.15
"""Times the largest singular value that random weights of that spread have; trained weights are above."""


@dataclass(frozen=True)
class _Layers:
    """Linear layers and convolutions in the order of calls.

    Attributes:
        names: of all.
        frozen: of those whose weight does not require a gradient.
        detached: of those whose weight requires one and gets none.
    """

    names: tuple[str, ...]
    frozen: tuple[str, ...]
    detached: tuple[str, ...]


def _check(facts: Facts) -> Iterator[Found]:
    if facts.start is None:
        return
    model = facts.subject.model
    gradients = {state.name: state.weight_gradient_rms for state in facts.start.layers}
    names = tuple(gradients)
    frozen = tuple(name for name in names if not _requires(model.get_submodule(name)))
    detached = tuple(name for name in names if gradients[name] is None and name not in frozen)
    layers = _Layers(names, frozen, detached)
    yield from _detached(layers)
    yield from _frozen(model, layers)
    yield from _left_out(facts, layers)


def _detached(layers: _Layers) -> Iterator[Found]:
    """Weights that are to train, take part in the forward pass, and get no gradient."""
    if layers.detached:
        name = layers.detached[-1]
        yield Found(
            name,
            f"{len(layers.detached)} of {len(layers.names)} layers get no gradient: it ends behind `{name}`",
            0.97,
            (Evidence("layers without gradient", float(len(layers.detached)), "0"),),
            remedy=f"look behind `{name}` for detach(), .data, torch.no_grad() or a conversion to numpy",
            also=tuple(layers.detached[:-1]),
        )


def _frozen(model: nn.Module, layers: _Layers) -> Iterator[Found]:
    """Layers whose weights are not to train, and who are no trained beginning of the network."""
    if not layers.frozen:
        return
    count = len(layers.frozen)
    prefix = layers.frozen == layers.names[:count]
    random = all(_looks_random(model.get_submodule(name)) for name in layers.frozen)
    # Adapters train few weights between many frozen ones; a backbone that was trained before is kept as it is.
    if random if prefix else 2 * count <= len(layers.names):
        yield Found(
            layers.frozen[0],
            f"{count} of {len(layers.names)} layers do not train (requires_grad=False)"
            + (", and their weights are random" if random else ""),
            0.9 if random else 0.6,
            (Evidence("frozen layers", float(count), "0, or a beginning that was trained"),),
            remedy="let them train: requires_grad_(True)",
            code_lines=tuple(f"model.get_submodule({name!r}).requires_grad_(True)" for name in layers.frozen),
            applicability="changes training",
            also=layers.frozen[1:],
        )


def _left_out(facts: Facts, layers: _Layers) -> Iterator[Found]:
    """Weights that the optimizer does not have, though they are to train."""
    optimizer = facts.subject.optimizer
    if optimizer is None:
        return
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    model = facts.subject.model
    missing = [
        name
        for name in layers.names
        if name not in layers.frozen
        and all(id(p) not in held for p in model.get_submodule(name).parameters())
    ]
    beginning = tuple(missing) == layers.names[: len(missing)] and len(missing) < len(layers.names)
    if missing and not beginning:
        whole = len(missing) == len(layers.names)
        yield Found(
            missing[0],
            f"the optimizer has the weights of {len(layers.names) - len(missing)} of {len(layers.names)} layers",
            0.95 if whole else 0.8,
            (Evidence("layers that the optimizer does not have", float(len(missing)), "0"),),
            remedy="make the optimizer from the parameters of this model, after all of its layers are there",
            also=tuple(missing[1:]),
        )


def _requires(layer: nn.Module) -> bool:
    return any(p.requires_grad for name, p in layer.named_parameters() if "bias" not in name)


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
    summary="Layers that do not train: frozen without having been trained, detached, or not in the optimizer.",
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
