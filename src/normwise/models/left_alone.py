"""A model looked at in one mode, and given back as it was."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer
from torch.utils._pytree import tree_leaves

_INTERNAL = frozenset(vars(nn.Module()))
"""Attributes of every module: parameters, buffers, modules, hooks."""


@contextmanager
def left_alone(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Run the block with the whole model in one mode; give back modes, buffers, and tensors that are attributes."""
    kept = [(module, _tensors_kept(module)) for module in model.modules()]
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(b, b.detach().clone()) for b in model.buffers() if not isinstance(b, UninitializedBuffer)]
    try:
        model.train(training)
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for module, before in kept:
            for name in _tensors_kept(module).keys() - before.keys():
                delattr(module, name)
            for name, value in before.items():
                setattr(module, name, value)
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


def detached_copy(model: nn.Module) -> nn.Module:
    """A deep copy, also of a model that keeps what its last forward pass made, as a hidden state or a map of attention.

    >>> net = nn.Linear(2, 2)
    >>> net.last = net(torch.ones(1, 2))
    >>> detached_copy(net).last.requires_grad
    False
    """
    memo = {
        id(value): value.detach().clone()
        for module in model.modules()
        for kept in _tensors_kept(module).values()
        for value in tree_leaves(kept)
        if isinstance(value, Tensor) and value.grad_fn is not None
    }
    copied: nn.Module = copy.deepcopy(model, memo)
    return copied


def _tensors_kept(module: nn.Module) -> dict[str, Any]:
    """Attributes that are tensors, or hold some, and are no parameters, buffers or modules."""
    return {
        name: value
        for name, value in vars(module).items()
        if name not in _INTERNAL
        and isinstance(value, Tensor | list | tuple | dict)
        and any(isinstance(leaf, Tensor) for leaf in tree_leaves(value))
    }
