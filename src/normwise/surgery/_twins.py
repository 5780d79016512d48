"""Torch's layers, normwise's of the same name, and the fused ones: which is which, and one built from another."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from normwise import layers
from normwise.layers._sharing import shared_by
from normwise.layers._tracking import Tracking

_NAMES = (
    *(f"{family}{rank}d" for family in ("BatchNorm", "InstanceNorm") for rank in (1, 2, 3)),
    "GroupNorm",
    "LayerNorm",
    "RMSNorm",
)
_OVER_CHANNELS = tuple(f"{family}{rank}d" for family in ("LayerNorm", "RMSNorm") for rank in (1, 2, 3))

Layer = type[nn.Module]

FASTER: dict[Layer, Layer] = {
    getattr(nn, name): getattr(layers, name) for name in (*_NAMES, "Dropout", "Linear")
}
"""Torch's class → normwise's of the same name. Only exact types: a subclass may do more."""

FUSED: dict[Layer, Layer] = {
    kind: getattr(layers, name.replace("Norm", "NormAct"))
    for name in (*_NAMES, *_OVER_CHANNELS)
    for kind in {getattr(layers, name), getattr(nn, name, getattr(layers, name))}
}
"""A normalization, torch's or normwise's → the fused form."""

TORCHS: dict[Layer, Layer] = {ours: theirs for theirs, ours in FASTER.items()} | {
    FUSED[getattr(layers, name)]: getattr(nn, name) for name in _NAMES
}
"""Normwise's class, plain or fused → torch's."""

UNFUSED: dict[Layer, Layer] = {FUSED[getattr(layers, name)]: getattr(layers, name) for name in _OVER_CHANNELS}
"""A fused form of which torch has no plain one → normwise's plain one."""

DROPOUTS: tuple[Layer, ...] = (nn.Dropout, layers.Dropout)

LINK = "_vacated"
"""The attribute by which a fused layer and the places that it vacated know each other."""

HOOKS = frozenset(name for name in vars(nn.Module()) if name.endswith("_hooks"))
"""The attributes in which a module keeps its hooks."""


def describe(module: nn.Module) -> str:
    """The class as it is written in code; of a fused one with what it does after the norm."""
    kind = type(module)
    if kind.__module__.startswith("normwise.layers"):
        text = f"nw.{kind.__name__}"
        if kind not in UNFUSED and kind not in TORCHS:
            return text
        finish = (
            [f"activation={module.activation!r}"] if getattr(module, "activation", "none") != "none" else []
        )
        finish += [f"dropout={module.dropout}"] if getattr(module, "dropout", 0.0) else []
        return f"{text}({', '.join(finish)})" if finish else text
    if kind.__module__.startswith("torch.nn.") and getattr(nn, kind.__name__, None) is kind:
        return f"nn.{kind.__name__}"
    return kind.__name__


def activation_name(module: nn.Module) -> str | None:
    """The name under which a fused layer knows this activation; None if it does not know it.

    >>> activation_name(nn.ReLU(inplace=True)), activation_name(nn.LeakyReLU(0.2))
    ('relu', None)
    """
    kind = type(module)
    if kind is nn.LeakyReLU:
        return "leaky_relu" if module.negative_slope == 0.01 else None
    if kind is nn.GELU:
        return "gelu" if module.approximate == "none" else None
    simple: dict[Layer, str] = {nn.ReLU: "relu", nn.SiLU: "silu", nn.Tanh: "tanh", nn.Sigmoid: "sigmoid"}
    return simple.get(kind)


def obstacle(module: nn.Module) -> str | None:
    """Why a module may do more, or hold more, than its class says; None where it does not."""
    held = vars(module)
    if any(held.get(name) for name in HOOKS):
        return "it has hooks"
    if held["_modules"]:
        return "it has modules of its own"
    shadowed = sorted(name for name in _added(module) if hasattr(type(module), name))
    if shadowed:
        return f"its `{shadowed[0]}` was replaced"
    fresh = vars(_fresh(type(module), module))
    for part, what in (("_parameters", "parameter"), ("_buffers", "buffer")):
        further = held[part].keys() - fresh[part].keys()
        if further:
            return f"it has a {what} `{min(further)}` that its class has not"
        missing = fresh[part].keys() - held[part].keys()
        if missing:
            return f"its {what} `{min(missing)}` was taken away"
    return None


def unlike_torch(module: nn.Module) -> str | None:
    """What a layer of normwise's does that torch's of the same name cannot; None where there is nothing."""
    if getattr(module, "statistics_frozen", False):
        return "its statistics are frozen"
    if getattr(module, "single_sample", "raise") != "raise":
        return f"it has single_sample={module.single_sample!r}"
    if getattr(module, "biased_running_var", False):
        return "its running variance is the biased one"
    return "it shares its statistics with others" if shared_by(module) is not None else None


def rebuild(module: nn.Module, kind: Layer, **finish: Any) -> nn.Module:
    """A module of another class with the settings, and the very parameters and buffers, of this one.

    `finish` is the activation and the dropout of a fused class. Attributes that were added to the module go
    along; the mode is kept.
    """
    new = _fresh(kind, module, **finish)
    carried = (_settings(kind) & _settings(type(module))) | _added(module)
    for name in carried - {LINK}:
        vars(new)[name] = vars(module)[name]
    for name in new._parameters:
        new._parameters[name] = module._parameters.get(name)
    for name in new._buffers:
        # What only the new class counts for itself is no part of the state.
        if name in module._buffers:
            new._buffers[name] = module._buffers[name]
    if isinstance(new, Tracking) and isinstance(module, Tracking):
        new.statistics_frozen = module.statistics_frozen
    new._non_persistent_buffers_set |= module._non_persistent_buffers_set & new._buffers.keys()
    new.training = module.training
    return new


def _settings(kind: Layer) -> set[str]:
    """Arguments of a class that its instances keep under the same name."""
    names = set(inspect.signature(kind).parameters)
    return names - {"bias", "device", "dtype", "activation", "dropout"}


def _fresh(kind: Layer, module: nn.Module, **finish: Any) -> nn.Module:
    """A new module of the class with the settings of this one, and values of its own; nobody's random numbers move."""
    accepted = inspect.signature(kind).parameters
    # A parameter is no setting: what it was to begin with may be under the same name.
    named = _settings(kind) - module._parameters.keys()
    arguments = {name: getattr(module, name) for name in named if hasattr(module, name)}
    tensors = [t for t in (*module._parameters.values(), *module._buffers.values()) if t is not None]
    if "device" in accepted and tensors:
        floating = [t.dtype for t in tensors if t.is_floating_point()]
        # The weights of a linear layer are many, and would be drawn; none of these is kept.
        device = "meta" if issubclass(kind, nn.Linear) else tensors[0].device
        arguments |= {"device": device, "dtype": floating[0] if floating else None}
    if "bias" in accepted:
        arguments["bias"] = module._parameters.get("bias") is not None
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        return kind(**arguments, **finish)


def _added(module: nn.Module) -> set[str]:
    """Attributes that an instance has beside those that its class gives it."""
    return vars(module).keys() - vars(_fresh(type(module), module)).keys()
