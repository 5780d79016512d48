"""One call of a normalization kernel: which elements share a statistic, where they lie, and what follows.

Index convention as in `normwise.geometry`: (N, C, S) are samples, channels, positions; K counts stacked models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

ACROSS, GROUP, LAYER = 0, 1, 2
"""Families of the kernels: statistics across samples, of a group of channels, of all channels at a position."""

FIRST, LAST = 0, 1
"""Layouts: (N, C, S) and (N, S, C) in memory."""

ACTIVATIONS: dict[str, int] = {
    "none": 0,
    "relu": 1,
    "leaky_relu": 2,
    "gelu": 3,
    "silu": 4,
    "tanh": 5,
    "sigmoid": 6,
}

_LAST_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


@dataclass(slots=True)
class Call:
    """What a kernel needs to know besides the differentiable tensors.

    Attributes:
        family: `ACROSS`, `GROUP` or `LAYER`.
        samples: N, of one model.
        channels: C.
        positions: S.
        layout: `FIRST` or `LAST`.
        groups: G, the groups of channels that share a statistic.
        models: K.
        trailing: the input is (*, C) as it lies, and not (N, C, *).
        centred: the mean is subtracted.
        batch_statistics: of the input, and not the running ones.
        eps: under the root.
        momentum: of the running statistics; negative counts all batches alike.
        activation: by name.
        rate: of dropout.
        running_mean, running_var: read or moved, (K · C).
        batches: the counter of batches, moved where it is given.
        sample_weight: (N, S), float32.
        generator: of dropout.
    """

    family: int
    samples: int
    channels: int
    positions: int
    layout: int
    groups: int
    models: int = 1
    trailing: bool = False
    centred: bool = True
    batch_statistics: bool = True
    eps: float = 1e-5
    momentum: float = 0.0
    activation: str = "none"
    rate: float = 0.0
    running_mean: Tensor | None = None
    running_var: Tensor | None = None
    batches: Tensor | None = None
    sample_weight: Tensor | None = None
    generator: torch.Generator | None = None

    @property
    def elements(self) -> int:
        """Elements of one model's input."""
        return self.samples * self.channels * self.positions

    @property
    def saved_elements(self) -> int:
        """Values that the forward pass leaves for the backward one."""
        if self.family == ACROSS:
            statistics = self.models * self.channels
        elif self.family == GROUP:
            statistics = self.samples * self.groups
        else:
            statistics = self.samples * self.positions
        return 3 * statistics + 2 * self.models * self.channels

    @property
    def gate_words(self) -> int:
        """Words of sixteen bits that a residual before a ReLU needs."""
        row, rows = (
            (self.positions, self.channels) if self.layout == FIRST else (self.channels, self.positions)
        )
        return self.models * self.samples * rows * -(-row // 16)

    @property
    def threshold(self) -> int:
        """Of 65536: an element is dropped where its sixteen random bits are below."""
        return min(round(self.rate * 65536), 65535)

    @property
    def keep_scale(self) -> float:
        """What a kept element is multiplied by: exactly the inverse of the probability to be kept."""
        return 65536 / (65536 - self.threshold) if self.rate else 1.0


def channels_in(x: Tensor, stacked: bool = False) -> tuple[int, int, int, int] | None:
    """(N, C, S, layout) of (N, C, *), or of (K, N, C, *); None where the values do not lie densely in either layout.

    >>> channels_in(torch.ones(2, 3, 4, 5)), channels_in(torch.ones(2, 4, 5, 3).movedim(-1, 1))
    ((2, 3, 20, 0), (2, 3, 20, 1))
    """
    if x.is_contiguous():
        return dense(x, stacked)
    if lies_channels_last(x, stacked):
        return *dense(x, stacked)[:3], LAST
    return None


def dense(x: Tensor, stacked: bool = False) -> tuple[int, int, int, int]:
    """(N, C, S, layout) of a contiguous input; with one position a channel the channels are last, too."""
    shape = x.shape[1:] if stacked else x.shape
    if len(shape) == 2:
        return shape[0], shape[1], 1, LAST
    positions = math.prod(shape[2:])
    return shape[0], shape[1], positions, LAST if positions == 1 else FIRST


def lies_channels_last(x: Tensor, stacked: bool = False) -> bool:
    """Whether moving the channels of (N, C, *), or of (K, N, C, *), to the end gives a contiguous tensor."""
    last = _LAST_FORMATS.get(x.dim())
    if last is not None and not stacked:
        return x.is_contiguous(memory_format=last)
    return x.movedim(1 + stacked, -1).is_contiguous()


def like(tensor: Tensor, x: Tensor) -> Tensor:
    """The tensor with x's strides, copied only where it has others."""
    if tensor.stride() == x.stride():
        return tensor
    return torch.empty_like(x).copy_(tensor)


def address(tensor: Tensor | None) -> int:
    """Where the values lie; 0 for no tensor."""
    return 0 if tensor is None else tensor.data_ptr()


def version_of(tensor: Tensor | None) -> Any:
    """A mark that changes with every in-place operation; None where none is kept."""
    return None if tensor is None or tensor.is_inference() else tensor._version
