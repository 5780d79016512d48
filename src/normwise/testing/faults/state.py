"""Faults of state: statistics that are not updated or belong elsewhere, and parameters that do not train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from normwise.diagnose.subject import Setup
from normwise.testing.faults.fault import Fault, on_model, on_setup
from normwise.testing.faults.networks import Residual
from normwise.testing.faults.places import activated, insert, middle, norms, weighted

_BATCH = {"norm": "batch"}
_PLAIN = ("mlp", "cnn", "residual")


class _AlwaysEvaluating1d(nn.BatchNorm1d):
    """`train()` does nothing."""

    def train(self, mode: bool = True) -> _AlwaysEvaluating1d:
        return super().train(False)


class _AlwaysEvaluating2d(nn.BatchNorm2d):
    """`train()` does nothing."""

    def train(self, mode: bool = True) -> _AlwaysEvaluating2d:
        return super().train(False)


class _Unregistered(nn.Module):
    """A layer in a plain list."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layers = [layer]

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = self.layers[0](input)
        return output


class _Detached(nn.Module):
    """No gradient goes back through it."""

    def forward(self, input: Tensor) -> Tensor:
        return input.detach()


def _momentum_zero(model: nn.Module) -> Sequence[str]:
    for name in norms(model):
        norm: Any = model.get_submodule(name)
        norm.momentum = 0.0
    return norms(model)


def _always_evaluating(model: nn.Module) -> Sequence[str]:
    for name in norms(model):
        norm: Any = model.get_submodule(name)
        kind = _AlwaysEvaluating2d if isinstance(norm, nn.BatchNorm2d) else _AlwaysEvaluating1d
        model.set_submodule(name, kind(norm.num_features).eval())
    return norms(model)


def _slow_statistics(model: nn.Module) -> Sequence[str]:
    for name in norms(model):
        norm: Any = model.get_submodule(name)
        norm.momentum = 1e-4
    return norms(model)


def _statistics_of_another_task(model: nn.Module) -> Sequence[str]:
    """A cumulative average over 100,000 batches of other data, which 200 of these do not move."""
    for name in norms(model):
        norm: Any = model.get_submodule(name)
        norm.momentum = None
        norm.running_mean.fill_(3.0)
        norm.running_var.fill_(0.05)
        norm.num_batches_tracked.fill_(100_000)
    return norms(model)


def _evaluates(setup: Setup) -> Setup:
    return replace(setup, evaluates=True)


def _in_a_list(model: nn.Module) -> Sequence[str]:
    name, _ = middle(activated(model))
    model.set_submodule(name, _Unregistered(model.get_submodule(name)))
    return (name,)


def _frozen_layer(model: nn.Module) -> Sequence[str]:
    name, _ = middle(activated(model))
    model.get_submodule(name).requires_grad_(False)
    return (name,)


def _frozen_below_head(model: nn.Module) -> Sequence[str]:
    for name, child in model.named_children():
        child.requires_grad_(name == "head")
    return ("", *[name for name in weighted(model) if not name.startswith("head")])


def _detached(model: nn.Module) -> Sequence[str]:
    below = [name for name in weighted(model) if name != "head.output"]
    return (*below, insert(model, "head.output", "detached", _Detached(), after=False))


def _detached_branch(model: nn.Module) -> Sequence[str]:
    path, block = next((n, m) for n, m in reversed(list(model.named_modules())) if isinstance(m, Residual))
    inside: Any = block.branch
    below = [f"{path}.branch.{name}" for name in weighted(inside)]
    inside.add_module("detached", _Detached())
    return (*below, f"{path}.branch.detached")


def _statistics_of_noise(model: nn.Module) -> Sequence[str]:
    """Means and variances drawn at random, never updated."""
    for name in norms(model):
        norm: Any = model.get_submodule(name)
        norm.momentum = 0.0
        generator = torch.Generator().manual_seed(0)
        norm.running_mean.normal_(generator=generator)
        norm.running_var.uniform_(0.05, 0.2, generator=generator)
    return norms(model)


STATE = (
    Fault(
        "unregistered-layer",
        "state",
        ("NW305",),
        "a layer in a plain list, where the optimizer does not find it",
        on_model(_in_a_list),
    ),
    Fault(
        "statistics-never-updated",
        "state",
        ("NW301",),
        "momentum 0: running statistics stay at their start",
        on_model(_momentum_zero),
        needs=_BATCH,
    ),
    Fault(
        "norms-always-evaluating",
        "state",
        ("NW301", "NW302"),
        "norms that stay in evaluation while scales and biases train",
        on_model(_always_evaluating),
        needs=_BATCH,
    ),
    Fault(
        "statistics-frozen-elsewhere",
        "state",
        ("NW301", "NW303"),
        "running statistics that came from somewhere else and are kept with momentum 0",
        on_model(_statistics_of_noise),
        _PLAIN,
        _BATCH,
    ),
    Fault(
        "eval-during-training",
        "state",
        ("NW302",),
        "the network is in evaluation while it trains",
        on_setup(_evaluates, norms),
        needs=_BATCH,
    ),
    Fault(
        "slow-statistics",
        "state",
        ("NW303",),
        "momentum 1e-4: after 200 steps the statistics are still those of the start",
        on_model(_slow_statistics),
        needs=_BATCH,
    ),
    Fault(
        "stale-statistics",
        "state",
        ("NW303",),
        "a cumulative average over 100,000 batches of another task",
        on_model(_statistics_of_another_task),
        _PLAIN,
        _BATCH,
    ),
    Fault(
        "frozen-layer",
        "state",
        ("NW304",),
        "a hidden layer does not train",
        on_model(_frozen_layer),
    ),
    Fault(
        "frozen-below-head",
        "state",
        ("NW304",),
        "nothing trains but the last layer",
        on_model(_frozen_below_head),
    ),
    Fault(
        "detached-features",
        "state",
        ("NW304",),
        "features are detached in front of the last layer",
        on_model(_detached),
    ),
    Fault(
        "detached-branch",
        "state",
        ("NW304",),
        "the last residual branch is detached",
        on_model(_detached_branch),
        ("mlp", "residual", "transformer"),
        {"mlp": {"skip": True}},
    ),
)
