"""Padding with a value of each channel's own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad


class ChannelPad(nn.Module):
    """Pads (N, C, *) or (C, *) around its positions with one value per channel.

    It stands where a norm stood before a convolution that pads with zeros: the value is what the norm mapped to zero.

    Args:
        value: (C,).
        padding: as `torch.nn.functional.pad` takes it, last axis first.

    >>> ChannelPad(torch.tensor([5.0, 7.0]), (1, 0))(torch.ones(1, 2, 2))
    tensor([[[5., 1., 1.],
             [7., 1., 1.]]])
    """

    value: Tensor

    def __init__(self, value: Tensor, padding: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("value", value)
        self.padding = tuple(padding)

    def forward(self, input: Tensor) -> Tensor:
        """Pad the input."""
        axes = len(self.padding) // 2
        inside = pad(
            torch.ones_like(input[:1] if input.dim() > axes + 1 else input, dtype=torch.bool), self.padding
        )
        value = self.value.to(input.dtype).view(-1, *(1,) * axes)
        return torch.where(inside, pad(input, self.padding), value)

    def extra_repr(self) -> str:
        """The padding."""
        return f"{len(self.value)}, padding={self.padding}"
