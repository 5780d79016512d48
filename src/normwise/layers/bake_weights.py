"""Parametrized weights made plain."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.spectral_norm import (
    SpectralNorm as _OldSpectralNorm,
    SpectralNormLoadStateDictPreHook,
    remove_spectral_norm,
)
from torch.nn.utils.weight_norm import WeightNorm as _OldWeightNorm, remove_weight_norm

from normwise.layers._parametrize import originals, own_class
from normwise.layers.weight_norm import RenameOldKeys


@torch.no_grad()
def bake_weights_(model: nn.Module) -> tuple[str, ...]:
    """Put a plain parameter with its present value in the place of every parametrized one, in place.

    Outputs in evaluation stay bit for bit what they were, and the state_dict is that of the model without
    parametrizations (for torch's layers in its order): weight, spectral and orthogonal normalization, standardization,
    centring and dropout of weights, torch's parametrizations and anybody's, and torch's older `weight_norm` and
    `spectral_norm` in the form of hooks. The value is evaluation's: spectral normalization takes no step, weight
    dropout drops nothing.

    Parameters that were shared stay shared, and what shares only the tensor beneath a parametrization keeps it as it
    is. Each baked parameter is a new one: build the optimizer of a training that goes on afterwards. A deep copy can be
    baked while the original trains on.

    Args:
        model: any module.

    Returns:
        The names of the baked parameters, in order.

    >>> from normwise.layers import spectral_norm, weight_norm
    >>> model = nn.Sequential(weight_norm(nn.Linear(2, 3)), nn.ReLU(), spectral_norm(nn.Linear(3, 1)))
    >>> bake_weights_(model)
    ('0.weight', '2.weight')
    >>> list(model.state_dict())
    ['0.weight', '0.bias', '2.weight', '2.bias']
    """
    done: list[str] = []
    values: dict[tuple[int, ...], list[Tensor]] = {}
    kept: list[Tensor] = []  # alive until the end, so that no other tensor gets the identity of one of these
    for path, module in list(model.named_modules()):
        prefix = f"{path}." if path else ""
        done += [f"{prefix}{name}" for name in _bake_hooks(module)]
        if not parametrize.is_parametrized(module):
            continue
        own_class(module)
        held: Any = module.parametrizations
        names = list(held)
        baked = {}
        for name in names:
            sources = originals(module, name)
            kept += sources
            key = tuple(id(source) for source in sources)
            baked[name] = _shared(_value(module, name, sources), values.setdefault(key, []))
            done.append(f"{prefix}{name}")
        for name in names:
            _restore(module, name, baked[name])
        _order(module, names)
        _drop_key_hooks(module)
    return tuple(done)


def _value(module: nn.Module, name: str, sources: tuple[Tensor, ...]) -> Tensor:
    """What evaluation reads, as a leaf of its own: a parameter if one of its sources is, else a tensor."""
    held: Any = module.parametrizations
    modes = [(each, each.training) for each in held[name].modules()]
    held[name].eval()
    try:
        value: Tensor = held[name]().detach().clone()
    finally:
        for each, training in modes:
            each.training = training
    if any(isinstance(source, nn.Parameter) for source in sources):
        return nn.Parameter(value, requires_grad=any(source.requires_grad for source in sources))
    return value


def _shared(value: Tensor, others: list[Tensor]) -> Tensor:
    """One of the tensors baked from the same sources where it is the same, else the value."""
    for other in others:
        if other.shape == value.shape and other.dtype == value.dtype and torch.equal(other, value):
            return other
    others.append(value)
    return value


def _restore(module: nn.Module, name: str, value: Tensor) -> None:
    held: Any = module.parametrizations
    if held[name].is_tensor:
        # Torch would write the value into the source, which another module may use as it is.
        del held[name].original
        held[name].original = value
    parametrize.remove_parametrizations(module, name, leave_parametrized=not held[name].is_tensor)
    setattr(module, name, value)


def _order(module: nn.Module, names: list[str]) -> None:
    """Put restored parameters where torch's layers have them: a recurrent one says where, others begin with weights."""
    first = getattr(module, "_flat_weights_names", [name for name in names if not name.startswith("bias")])
    for held in (module._parameters, module._buffers):
        before: dict[str, Any] = dict(held)
        held.clear()
        held.update({name: before.pop(name) for name in first if name in before} | before)


def _bake_hooks(module: nn.Module) -> list[str]:
    """Remove torch's older, hook-like normalizations of a weight."""
    names = []
    for hook in list(module._forward_pre_hooks.values()):
        if isinstance(hook, _OldWeightNorm):
            remove_weight_norm(module, hook.name)
        elif isinstance(hook, _OldSpectralNorm):
            remove_spectral_norm(module, hook.name)
        else:
            continue
        names.append(hook.name)
    if names:
        _order(module, names)
        _drop_key_hooks(module)
    return names


def _drop_key_hooks(module: nn.Module) -> None:
    """Forget how keys of a normalization were read: torch leaves that behind, to ask for keys or stop pickling."""
    hooks = module._load_state_dict_pre_hooks
    for key, hook in list(hooks.items()):
        inner = getattr(hook, "hook", hook)
        known = isinstance(inner, RenameOldKeys | SpectralNormLoadStateDictPreHook)
        if known or "_weight_norm_compat_hook" in getattr(inner, "__qualname__", ""):
            del hooks[key]
