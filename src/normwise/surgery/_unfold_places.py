"""Where a norm goes behind a layer: the place of one that was folded into it, or a new one."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from normwise.graph import Graph
from normwise.layers.normalized import normalized
from normwise.surgery._fold_apply import RECORD
from normwise.surgery._fold_known import looks_linear
from normwise.surgery._moments import Moments

_RANKS: dict[int, type[nn.Module]] = {
    2: nn.BatchNorm1d,
    3: nn.BatchNorm1d,
    4: nn.BatchNorm2d,
    5: nn.BatchNorm3d,
}


@dataclass(frozen=True)
class Place:
    """A place for one norm.

    Attributes:
        at: the name under which it stands.
        layers: names of the layers whose outputs come there.
        kind: "slot" where a module keeps the place, "gap" in a `Sequential`, or "inside" of a layer.
        axes: of the tensors that come there.
        eps: of the norm.
        momentum: of the norm.
        behind: of a gap: the key before it; None at the beginning.
    """

    at: str
    layers: tuple[str, ...]
    kind: str
    axes: int
    eps: float = 1e-5
    momentum: float | None = 0.1
    behind: str | None = None

    def with_layer(self, name: str) -> Place:
        """The same place, into which another layer's output comes, too."""
        return replace(self, layers=(*self.layers, name))


def find(model: nn.Module, graph: Graph, name: str, axes: int) -> Place:
    """The place for a norm behind a layer whose outputs have so many axes."""
    for record in vars(model.get_submodule(name)).get(RECORD, ()):
        settings: dict[str, Any] = {"eps": record["eps"], "momentum": record["momentum"]}
        for other, module in model.named_modules():
            held = vars(module).get(RECORD, ())
            if looks_linear(module):
                continue
            for each in held:
                if each is record:
                    calls = graph.calls_of(other)
                    if calls and calls[0].inputs:
                        axes = len(graph.values[calls[0].inputs[0]].shape)
                    at = other if type(module) is nn.Identity else f"{other}.norm"
                    return Place(at, (name,), "slot", axes, **settings)
                if type(each) is tuple and each[2] is record:
                    key, behind, _ = each
                    if key not in module._modules and (behind is None or behind in module._modules):
                        return Place(_join(other, key), (name,), "gap", axes, behind=behind, **settings)
    return Place(_join(name, "norm"), (name,), "inside", axes)


@torch.no_grad()
def put(model: nn.Module, places: list[Place], statistics: dict[str, Moments]) -> nn.Module:
    """Put norms at places, on this very model, and return it."""
    for place in places:
        layers = [model.get_submodule(name) for name in place.layers]
        norm = _norm(place, layers[0], statistics.get(place.at))
        owner, _, key = place.at.rpartition(".")
        if place.kind == "inside":
            normalized(layers[0], norm)
        elif place.kind == "gap":
            sequence = model.get_submodule(owner)
            items = list(sequence._modules.items())
            index = 0 if place.behind is None else [each for each, _ in items].index(place.behind) + 1
            items.insert(index, (key, norm))
            sequence._modules.clear()
            sequence._modules.update(items)
        else:
            old = model.get_submodule(place.at) if _exists(model, place.at) else model.get_submodule(owner)
            if type(old) is not nn.Identity:
                _forget(old, layers)
                norm = nn.Sequential(OrderedDict(norm=norm, after=old)).train(old.training)
            _replace(model, old, norm)
        for module in model.modules():
            _forget(module, layers)
        for layer in layers:
            vars(layer).pop(RECORD, None)
    return model


def _norm(place: Place, layer: nn.Module, moments: Moments | None) -> nn.Module:
    weight: Any = layer._parameters["weight"]
    channels: Any = getattr(layer, "out_channels", None) or layer.out_features
    norm: Any = _RANKS[place.axes](
        channels, place.eps, place.momentum, device=weight.device, dtype=weight.dtype
    )
    if moments is not None:
        norm.running_mean.copy_(moments.mean)
        norm.running_var.copy_(moments.variance())
        norm.bias.copy_(norm.running_mean)
    # From the rounded values, so that their rounding is no part of the difference.
    norm.weight.copy_((norm.running_var.double() + norm.eps).sqrt())
    trained: nn.Module = norm.train(layer.training)
    return trained


def _forget(module: nn.Module, layers: list[nn.Module]) -> None:
    """Drop the records of these layers from a module that keeps a place for them."""
    done = {id(record) for layer in layers for record in vars(layer).get(RECORD, ())}
    held = vars(module).get(RECORD)
    if held is None or module in layers:
        return
    kept = tuple(each for each in held if id(each[2] if type(each) is tuple else each) not in done)
    if kept:
        vars(module)[RECORD] = kept
    else:
        del vars(module)[RECORD]


def _replace(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for owner in list(model.modules()):
        for key, child in owner._modules.items():
            if child is old and owner is not new:
                owner._modules[key] = new


def _exists(model: nn.Module, name: str) -> bool:
    try:
        model.get_submodule(name)
    except AttributeError:
        return False
    return True


def _join(*parts: str) -> str:
    return ".".join(part for part in parts if part)
