"""What was planned, carried out on a model: any copy of it, in any dtype, by the names of its modules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from normwise.layers.bake_weights import bake_weights_
from normwise.surgery._fold_known import HOLDING, NORMS, channel_map, leftover, meaning, positions
from normwise.surgery._fold_pad import ChannelPad
from normwise.surgery._fold_plan import Fold
from normwise.surgery._fold_weights import border_value, fold_before, fold_behind, fold_into_norm
from normwise.surgery._reach import reaches_into

RECORD = "_folded"
"""Where a layer, and the place that a norm left, hold the same record of it: plain data, pickled without normwise."""


@dataclass(frozen=True)
class Script:
    """All that is done to a model, in order.

    Attributes:
        folds: in order.
        dropped: names of places that are taken out of their `Sequential`.
    """

    folds: tuple[Fold, ...] = ()
    dropped: tuple[str, ...] = ()


def perform(model: nn.Module, script: Script) -> nn.Module:
    """Bake parametrized weights and carry out a script, on this very model."""
    bake_weights_(model)
    for fold in script.folds:
        apply(model, fold)
    for name in script.dropped:
        drop(model, name)
    return model


def apply(model: nn.Module, fold: Fold) -> nn.Module | None:
    """Carry out one fold; return what stands at the norm's place now, None where that was inside a layer.

    Raises:
        UnfoldableError: the values do not allow it; the model is as it was.
    """
    norm = model.get_submodule(fold.norm)
    scale, shift = channel_map(norm)
    layers = [model.get_submodule(name) for name in fold.layers]
    kept = [(layer, dict(layer._parameters), dict(layer._buffers)) for layer in layers]
    place: nn.Module = nn.Identity()
    try:
        for layer in layers:
            if not fold.before:
                fold_behind(layer, scale, shift)
            elif meaning(layer, NORMS) is not None:
                fold_into_norm(layer, scale, shift)
            else:
                fold_before(layer, scale, shift)
    except Exception:
        for layer, parameters, buffers in kept:
            layer._parameters.update(parameters)
            layer._buffers.update(buffers)
        raise
    value = border_value(scale, shift) if fold.padding else None
    if value is not None:
        running: Any = norm._buffers["running_mean"]
        place = ChannelPad(value.to(running.dtype), fold.padding)
        for layer in layers:
            _stop_padding(layer)
    if not fold.before:
        place = leftover(norm) or place
        record = {
            "norm": fold.norm,
            "eps": getattr(norm, "eps", 1e-5),
            "momentum": getattr(norm, "momentum", 0.1),
        }
        for module in (*layers, place):
            vars(module)[RECORD] = (*vars(module).get(RECORD, ()), record)
    place.training = norm.training
    _replace(model, norm, place)
    for layer in layers:
        if type(layer) in HOLDING and layer._modules.get("norm") is place and type(place) is nn.Identity:
            del layer._modules["norm"]
            layer.__class__ = HOLDING[type(layer)]
            return None
    return place


def droppable(model: nn.Module, name: str) -> bool:
    """Whether the place of that name can be taken out of a `Sequential`, which nothing but calls as a whole."""
    parts = name.split(".")
    module: nn.Module = model
    for part in parts[:-1]:
        if reaches_into(module, part):
            return False
        module = module._modules[part]  # type: ignore[assignment]  # a submodule of that name is there
    place = module._modules[parts[-1]]
    standing = sum(each is place for owner in model.modules() for each in owner._modules.values())
    return type(module) is nn.Sequential and type(place) is nn.Identity and standing == 1 and len(module) > 1


def drop(model: nn.Module, name: str) -> None:
    """Take a place out of its `Sequential`, which keeps key, key before, and record of it."""
    owner, _, key = name.rpartition(".")
    sequence = model.get_submodule(owner)
    keys = list(sequence._modules)
    behind = keys[keys.index(key) - 1] if keys.index(key) else None
    place: Any = sequence._modules.pop(key)
    gaps = tuple((key, behind, record) for record in vars(place).get(RECORD, ()))
    vars(sequence)[RECORD] = (*vars(sequence).get(RECORD, ()), *gaps)


def _stop_padding(layer: nn.Module) -> None:
    layer.padding = (0,) * positions(layer)  # type: ignore[assignment]  # torch types attributes of modules as Tensor | Module
    layer._reversed_padding_repeated_twice = [0] * (2 * positions(layer))  # type: ignore[assignment]


def _replace(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for owner in list(model.modules()):
        for key, child in owner._modules.items():
            if child is old:
                owner._modules[key] = new
