"""Faults of numerics: constants and buffers of norms that do not fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from normwise.testing.faults.fault import Fault, on_model
from normwise.testing.faults.networks import chain
from normwise.testing.faults.places import middle, norms

_BATCH = {"norm": "batch"}
_NORMED = {"mlp": {"norm": "layer"}, "cnn": {"norm": "batch"}}


class _Cast(nn.Module):
    """Another dtype."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, input: Tensor) -> Tensor:
        return input.to(self.dtype)


def _one_norm(**fields: Any) -> Callable[[nn.Module], Sequence[str]]:
    def change(model: nn.Module) -> Sequence[str]:
        name = middle(norms(model))
        for field, value in fields.items():
            setattr(model.get_submodule(name), field, value)
        return (name,)

    return change


def _every_norm(**fields: Any) -> Callable[[nn.Module], Sequence[str]]:
    def change(model: nn.Module) -> Sequence[str]:
        for name in norms(model):
            for field, value in fields.items():
                setattr(model.get_submodule(name), field, value)
        return norms(model)

    return change


def _buffer(name: str, value: float) -> Callable[[nn.Module], Sequence[str]]:
    def change(model: nn.Module) -> Sequence[str]:
        norm = middle(norms(model))
        buffer: Any = getattr(model.get_submodule(norm), name)
        buffer[0] = value
        return (norm,)

    return change


def _brain_floats(model: nn.Module) -> Sequence[str]:
    """The whole network in bfloat16, with inputs and outputs cast: running statistics are rounded, too."""
    found = norms(model)
    parts = dict(model.named_children())
    for name in parts:
        delattr(model, name)
    inside = {name: part.to(torch.bfloat16) for name, part in parts.items()}
    for name, part in chain(
        cast=_Cast(torch.bfloat16), **inside, uncast=_Cast(torch.float32)
    ).named_children():
        model.add_module(name, part)
    return found


NUMERICS = (
    Fault(
        "eps-zero",
        "numerics",
        ("NW201",),
        "a norm divides by a standard deviation without eps",
        on_model(_one_norm(eps=0.0)),
        needs={"mlp": {"norm": "layer"}, "cnn": {"norm": "group"}, "residual": {"norm": "group"}},
    ),
    Fault(
        "eps-below-dtype",
        "numerics",
        ("NW201",),
        "eps of a norm is far below what float32 resolves beside a variance",
        on_model(_one_norm(eps=1e-20)),
        needs=_NORMED,
    ),
    Fault(
        "eps-too-large",
        "numerics",
        ("NW201",),
        "eps of a norm is far above the variance of its inputs, which it no longer normalizes",
        on_model(_one_norm(eps=100.0)),
        needs=_NORMED,
    ),
    Fault(
        "half-precision-statistics",
        "numerics",
        ("NW202",),
        "running statistics in bfloat16, whose small updates are rounded away",
        on_model(_brain_floats),
        ("mlp", "cnn", "residual"),
        _BATCH,
    ),
    Fault(
        "nan-in-running-mean",
        "numerics",
        ("NW203",),
        "a running mean that is not a number",
        on_model(_buffer("running_mean", math.nan)),
        needs=_BATCH,
    ),
    Fault(
        "infinite-running-variance",
        "numerics",
        ("NW203",),
        "a running variance that is infinite",
        on_model(_buffer("running_var", math.inf)),
        needs=_BATCH,
    ),
    Fault(
        "keras-momentum",
        "numerics",
        ("NW204",),
        "momentum 0.99, as Keras writes it: in torch nearly nothing is remembered",
        on_model(_every_norm(momentum=0.99)),
        needs=_BATCH,
    ),
)
