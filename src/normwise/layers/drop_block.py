"""DropBlock: dropout of contiguous blocks of a feature map.

Index convention: a block is named by its first position on each axis; on an axis of size s, blocks of size b begin at
0 … s − b.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as torch_functional

from normwise.errors import ArgumentError, explain
from normwise.layers._draws import Drops
from normwise.layers._recompute import in_recomputation

# Newton steps for the rate of blocks: from the left of a convex function, so that each gains digits; six give all.
_STEPS = 8


class _DropBlock(Drops):
    """All but the number of axes."""

    rank: ClassVar[int]
    training_calls: Tensor | None

    def __init__(
        self, p: float = 0.1, block_size: int = 7, *, per_channel: bool = True, warmup: int = 0
    ) -> None:
        super().__init__(p)
        for name, value, least in (("block_size", block_size, 1), ("warmup", warmup, 0)):
            if value < least:
                raise ArgumentError(
                    explain(type(self).__name__, f"`{name}` must be at least {least}", f"{value}")
                )
        self.block_size = block_size
        self.per_channel = per_channel
        self.warmup = warmup
        counter = torch.zeros((), dtype=torch.long) if warmup else None
        self.register_buffer("training_calls", counter)

    def reset_parameters(self) -> None:
        """Begin the warm-up anew."""
        if self.training_calls is not None:
            self.training_calls.zero_()

    def disturb(self, input: Tensor) -> Tensor:
        """Drop blocks."""
        if input.dim() != self.rank + 2:
            raise ArgumentError(
                explain(
                    type(self).__name__,
                    f"expected {self.rank + 2}D input",
                    f"{input.dim()}D input of size {tuple(input.shape)}",
                )
            )
        kept = self._kept(input)
        # A mask that drops all has nothing to scale: the output is zero.
        count = kept.sum().clamp(min=1)
        scale = kept.numel() / count.to(torch.float64 if input.dtype == torch.float64 else torch.float32)
        return input * kept * scale

    def extra_repr(self) -> str:
        """The arguments."""
        return (
            f"{super().extra_repr()}, block_size={self.block_size}, per_channel={self.per_channel}, "
            f"warmup={self.warmup}"
        )

    @torch.no_grad()
    def _kept(self, input: Tensor) -> Tensor:
        sizes = input.shape[2:]
        blocks = [min(self.block_size, size) for size in sizes]
        maps = (input.shape[0], input.shape[1] if self.per_channel else 1)
        starts = [size - block + 1 for size, block in zip(sizes, blocks, strict=True)]
        rate = block_rate(self._rate(input.device), sizes, blocks)
        first = torch.rand(*maps, *starts, device=input.device) < rate
        dropped = torch_functional.pad(first, [block - 1 for block in reversed(blocks) for _ in range(2)])
        for axis, block in enumerate(blocks, start=2):
            dropped = _windows(dropped, axis, block)
        return ~dropped

    def _rate(self, device: torch.device) -> Tensor:
        if self.training_calls is None:
            return torch.full((), self.p, device=device)
        # A call counts before its rate is taken, so that a recomputation, which does not count, has the same rate.
        if self.training and not in_recomputation():
            self.training_calls.add_(1)
        return self.p * ((self.training_calls - 1) / self.warmup).clamp(0.0, 1.0)


class DropBlock1d(_DropBlock):
    """Zero blocks of (N, C, L) in training and scale the rest; see `DropBlock2d`.

    >>> DropBlock1d(0.2, block_size=3).eval()(torch.ones(1, 1, 4))
    tensor([[[1., 1., 1., 1.]]])
    """

    rank = 1


class DropBlock2d(_DropBlock):
    """Zero square blocks of (N, C, H, W) in training and scale the rest.

    ``y = x · mask · numel(mask) / Σ mask``. Blocks lie wholly within the map, so that positions at its edge are dropped
    less often. They begin at a position with the probability γ at which the expected part that is dropped, overlaps
    counted, is p: the paper's γ is its first order and drops less (0.24 for 0.3, with 14 × 14 in blocks of 7). A block
    larger than the map is cut to it; even sizes are as good as odd ones; where all is dropped the output is zero. The
    mean of a constant input stays, to rounding.

    Args:
        p: the expected part of the elements that is dropped.
        block_size: of a block on each axis; 1 is `Dropout`, the whole map is `Dropout2d`.
        per_channel: a mask for each channel, as in the paper; False takes one for all channels of a sample.
        warmup: calls in training over which the rate rises linearly from 0 to p; they are counted in the buffer
            `training_calls`, which goes with the state_dict.

    Raises:
        ArgumentError: (a ValueError) p is no probability, a size is not positive, or another number of axes.

    Source: Ghiasi, Lin & Le 2018.

    >>> DropBlock2d(1.0, block_size=3)(torch.ones(1, 2, 5, 5)).abs().max()
    tensor(0.)
    """

    rank = 2


class DropBlock3d(_DropBlock):
    """Zero cubes of (N, C, D, H, W) in training and scale the rest; see `DropBlock2d`.

    >>> DropBlock3d(0.2, block_size=2)(torch.ones(1, 2, 3, 3, 3)).mean().round(decimals=4)
    tensor(1.)
    """

    rank = 3


def _windows(mask: Tensor, axis: int, size: int) -> Tensor:
    """Whether any of each `size` neighbours on an axis is true; windows double, so that few steps do."""
    width = 1
    while width < size:
        step = min(width, size - width)
        length = mask.shape[axis] - step
        mask = mask.narrow(axis, 0, length) | mask.narrow(axis, step, length)
        width += step
    return mask


def block_rate(p: Tensor, sizes: Sequence[int], blocks: Sequence[int]) -> Tensor:
    """The probability γ at which a block begins, so that the expected part of positions in a block is p.

    A position that n blocks can cover is kept with probability ``(1 − γ)ⁿ``; γ solves ``mean (1 − γ)ⁿ = 1 − p``.

    >>> block_rate(torch.tensor(0.5), [4, 4], [1, 1]).round(decimals=4)  # dropout
    tensor(0.5000)
    """
    covering = torch.ones((), device=p.device)
    for size, block in zip(sizes, blocks, strict=True):
        position = torch.arange(size, device=p.device, dtype=torch.float32)
        ways = position.clamp(max=size - block) - (position - block + 1).clamp(min=0.0) + 1.0
        covering = covering.unsqueeze(-1) * ways
    target = torch.log1p(-p.clamp(max=1.0 - 1e-6))
    exponent = torch.zeros_like(p)  # −log(1 − γ)
    for _ in range(_STEPS):
        kept = torch.exp(-covering * exponent)
        mean = kept.mean()
        exponent = exponent + (mean.log() - target) * mean / (covering * kept).mean()
    return torch.where(p >= 1.0, 1.0, -torch.expm1(-exponent))
