"""One call of a normalization kernel: which elements share a statistic, where they lie, and what follows.

Index convention as in `normwise.geometry`: (N, C, S) are samples, channels, positions; K counts stacked models.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

ACROSS, GROUP, LAYER = 0, 1, 2
"""Families of the kernels: statistics across samples, of a group of channels, of all channels at a position."""

FIRST, LAST = 0, 1
"""Layouts: (N, C, S) and (N, S, C) in memory."""

NONE, RELU, LEAKY_RELU, GELU, SILU, TANH, SIGMOID = range(7)
ACTIVATIONS: dict[str, int] = {
    "none": NONE,
    "relu": RELU,
    "leaky_relu": LEAKY_RELU,
    "gelu": GELU,
    "silu": SILU,
    "tanh": TANH,
    "sigmoid": SIGMOID,
}

DTYPES: dict[torch.dtype, int] = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}
"""The kernels' numbers of dtypes."""

_LAST_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}
_PLANS = 1024  # calls that are remembered; a network has a few a layer and batch size


@dataclass(frozen=True)
class Call:
    """Sizes and options of a call, the same for all calls of a layer with inputs of one shape.

    Attributes:
        family: `ACROSS`, `GROUP` or `LAYER`.
        dtype: the kernels' number of the input's.
        parameter_dtype: the kernels' number of that of weight and bias.
        samples: N, of one model.
        channels: C.
        positions: S.
        layout: `FIRST` or `LAST`.
        groups: G, the groups of channels that share a statistic.
        models: K.
        centred: the mean is subtracted.
        batch_statistics: of the input, and not the running ones.
        eps: under the root.
        activation: one of the values of `ACTIVATIONS`.
        threshold: of 65536: an element is dropped where its sixteen random bits are below.
        gated: a residual meets a ReLU; what passes is kept, one bit an element.
    """

    family: int
    dtype: int
    parameter_dtype: int
    samples: int
    channels: int
    positions: int
    layout: int
    groups: int
    models: int
    centred: bool
    batch_statistics: bool
    eps: float
    activation: int
    threshold: int
    gated: bool

    @property
    def elements(self) -> int:
        """Elements of one model's input."""
        return self.samples * self.channels * self.positions

    @cached_property
    def keep_scale(self) -> float:
        """What a kept element is multiplied by: exactly the inverse of the probability to be kept."""
        return 65536 / (65536 - self.threshold)

    @cached_property
    def keep_bytes(self) -> int:
        """One bit an element; a model's are padded to 128, and 16 bytes follow the last."""
        return self.models * (-(-self.elements // 128) * 16) + 16

    @cached_property
    def gate_bytes(self) -> int:
        """As abi.h has it; how the bits lie in them is the kernels' own affair."""
        row = self.positions if self.layout == FIRST else self.channels
        if self.family == GROUP and self.positions == 1:
            row = self.channels // self.groups
        return self.models * self.elements // row * -(-row // 16) * 2

    @cached_property
    def values(self) -> int:
        """Numbers that the forward pass leaves for the backward one: statistics, weight and bias."""
        if self.family == ACROSS:
            statistics = self.models * self.channels
        else:
            statistics = self.samples * (self.groups if self.family == GROUP else self.positions)
        return 3 * statistics + 2 * self.models * self.channels

    @cached_property
    def parts(self) -> tuple[int, int, int]:
        """Of the buffer that the backward pass needs: where the gate begins, the keep bits, and the end, in bytes.

        Bits that are dropped go into the gate, where there is one.
        """
        gate = _aligned(self.values * (8 if self.dtype == DTYPES[torch.float64] else 4))
        if self.gated:
            end = gate + _aligned(self.gate_bytes)
            return gate, end, end
        return gate, gate, gate + self.keep_bytes if self.threshold else gate

    @cached_property
    def buffer(self) -> Tensor:
        """Of the shape of a buffer of these parts, and one byte: `empty_like` is torch's quickest way to memory."""
        return torch.empty(1, dtype=torch.uint8, device="cpu").expand(self.parts[2])

    @cached_property
    def leading(self) -> tuple[Any, ...]:
        """What every call of the portable kernels begins with."""
        return (
            self.family,
            self.dtype,
            self.layout,
            self.activation,
            self.parameter_dtype,
            self.batch_statistics,
            self.centred,
            self.models,
            self.samples,
            self.channels,
            self.positions,
            self.groups,
            self.keep_scale,
        )


@functools.lru_cache(_PLANS)
def plan(
    family: int,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    parameter_dtype: torch.dtype,
    last: bool,
    groups: int,
    trailing: int,
    stacked: bool,
    centred: bool,
    batch_statistics: bool,
    eps: float,
    activation: str,
    rate: float,
    with_residual: bool,
) -> Call:
    """The call for an input that lies densely, channels last or as its shape says; remembered.

    >>> f32 = torch.float32
    >>> call = plan(ACROSS, (2, 3, 4, 5), f32, f32, False, 1, 0, False, True, True, 1e-5, "relu", 0.5, True)
    >>> call.samples, call.channels, call.positions, call.layout, call.groups, call.keep_scale, call.parts
    (2, 3, 20, 0, 3, 2.0, (64, 128, 128))
    """
    models = shape[0] if stacked else 1
    if trailing:
        channels, positions = math.prod(shape[-trailing:]), 1
        samples = math.prod(shape[:-trailing])
    else:
        samples, channels, *rest = shape[stacked:]
        positions = math.prod(rest)
    return Call(
        family,
        DTYPES[dtype],
        DTYPES[parameter_dtype],
        samples,
        channels,
        positions,
        LAST if last or positions == 1 else FIRST,
        channels if family == ACROSS else groups,
        models,
        centred,
        batch_statistics,
        eps,
        ACTIVATIONS[activation],
        threshold_of(rate),
        with_residual and activation == "relu",
    )


def threshold_of(rate: float) -> int:
    """Of 65536: an element is dropped where its sixteen random bits are below."""
    return min(round(rate * 65536), 65535)


def _aligned(size: int) -> int:
    return -(-size // 64) * 64


def lies_channels_last(x: Tensor, stacked: bool = False) -> bool:
    """Whether moving the channels of (N, C, *), or of (K, N, C, *), to the end gives a contiguous tensor.

    >>> lies_channels_last(torch.ones(2, 4, 5, 3).movedim(-1, 1))
    True
    """
    if x.dim() < 2 + stacked:
        return False
    last = _LAST_FORMATS.get(x.dim())
    if last is not None and not stacked:
        return x.is_contiguous(memory_format=last)
    return x.movedim(1 + stacked, -1).is_contiguous()


def address(tensor: Tensor | None) -> int:
    """Where the values lie; 0 for no tensor."""
    return 0 if tensor is None else tensor.data_ptr()


def version_of(tensor: Tensor | None) -> Any:
    """A mark that changes with every in-place operation; None where none is kept."""
    return None if tensor is None or tensor.is_inference() else tensor._version
