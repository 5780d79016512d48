"""Activations by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from normwise.errors import unknown_name

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}

ACTIVATIONS: tuple[str, ...] = tuple(_ACTIVATIONS)


def make_activation(name: str, who: str) -> nn.Module:
    """Return a new module for the activation; not in place, so that its input stays to be observed."""
    if name not in _ACTIVATIONS:
        raise unknown_name(who, "activation", name, ACTIVATIONS)
    return _ACTIVATIONS[name]()
