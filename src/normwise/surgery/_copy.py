"""Copies of a model: a structure of its own over the same tensors, or over tensors that hold nothing."""

from __future__ import annotations

import copy
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from normwise.errors import ArgumentError, explain
from normwise.surgery._held import closed_over
from normwise.surgery._twins import HOOKS


def copied(model: nn.Module, who: str) -> nn.Module:
    """New modules that share every parameter and buffer with the old ones.

    Raises:
        ArgumentError: (a ValueError) the model cannot be copied so.
    """
    must, hint = "the model must be one that `copy.deepcopy` copies whole", "use inplace=True"
    function = closed_over(dict(model.named_modules()))
    if function is not None:
        raise ArgumentError(explain(who, must, function, hint))
    memo: dict[int, Any] = {id(tensor): tensor for tensor in _tensors(model)} | _foreign_hooks(model)
    try:
        new: nn.Module = copy.deepcopy(model, memo)
    except Exception as error:
        # Any class may have its own idea of copying, and with it its own exceptions.
        raise ArgumentError(explain(who, must, f"{type(error).__name__}: {error}", hint)) from error
    if [id(tensor) for tensor in _state(model)] != [id(tensor) for tensor in _state(new)]:
        raise ArgumentError(
            explain(
                who,
                "a copy of the model must be able to share its parameters",
                f"a {type(model).__name__} that copies them",
                hint,
            )
        )
    return new


def sketched(model: nn.Module) -> nn.Module:
    """A copy for looking at: parameters on the meta device, buffers of its own.

    A forward pass of it may write where it likes. Raises what copying raises.
    """
    memo: dict[int, Any] = {}
    for tensor in _tensors(model):
        plain = not is_lazy(tensor) and type(tensor) in (Tensor, nn.Parameter)
        if not plain:
            memo[id(tensor)] = tensor
        elif isinstance(tensor, nn.Parameter):
            empty = torch.empty_like(tensor, device="meta")
            memo[id(tensor)] = nn.Parameter(empty, requires_grad=tensor.requires_grad)
        else:
            memo[id(tensor)] = tensor.detach().clone()
    new: nn.Module = copy.deepcopy(model, memo | _foreign_hooks(model))
    return new


def _state(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


def _tensors(model: nn.Module) -> list[Tensor]:
    """Parameters, buffers, and tensors that modules keep as plain attributes."""
    found: list[Tensor] = []
    for module in model.modules():
        for values in (vars(module), module._parameters, module._buffers):
            found.extend(value for value in values.values() if isinstance(value, Tensor))
    return found


def _foreign_hooks(model: nn.Module) -> dict[int, Any]:
    """Hooks that are methods of somebody else, a monitor say, which must go on hearing of the model."""
    return {
        id(hook): hook
        for module in model.modules()
        for name in HOOKS
        for hook in vars(module).get(name, {}).values()
        if isinstance(hook, MethodType) and not isinstance(hook.__self__, nn.Module)
    }
