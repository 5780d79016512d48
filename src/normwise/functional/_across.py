"""What normalizations across samples share: what they refuse, how a mean is taken and subtracted."""

from __future__ import annotations

import torch
from torch import Tensor

from normwise.errors import ArgumentError, explain
from normwise.functional._wide import affine


def check_several(who: str, input: Tensor) -> None:
    """Raise where there is one value per channel: its variance is zero, and says nothing of others."""
    if input.dim() > 1 and 0 < input.numel() == input.shape[1]:
        raise ArgumentError(
            explain(
                who,
                "Expected more than 1 value per channel when training",
                f"input size {tuple(input.shape)}",
                "use a larger batch (drop_last=True drops a short last one) or eval mode",
            )
        )


def over_positions(values: Tensor) -> tuple[int, ...]:
    """The axes of the positions of (N, C, *)."""
    return tuple(range(2, values.dim()))


def per_channel(values: Tensor, input: Tensor) -> Tensor:
    """(C,) or (N, C), broadcast to an input (N, C, *)."""
    return values.reshape(*values.shape, *(1,) * (input.dim() - 2))


def mean_over(values: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The mean in float64, kept as axes of size 1; of no values it is zero. Without axes the values themselves."""
    if not axes:
        return values.double()
    count = 1
    for axis in axes:
        count *= values.shape[axis]
    return values.sum(axes, keepdim=True, dtype=torch.float64) / max(count, 1)


def centred(values: Tensor, mean: Tensor) -> Tensor:
    """``values − mean`` for a float64 mean that broadcasts.

    The mean goes in two parts: rounded to float32, one of 1e4 standard deviations is off by a thousandth of one.
    """
    high = mean.to(values.dtype)
    return (values - high) - (mean - high).to(values.dtype)


def finished(output: Tensor, input: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """``output · weight + bias`` with one of each per channel, in the input's dtype and layout."""
    return laid_out(affine(output, weight, bias).to(input.dtype), input)


def laid_out(output: Tensor, input: Tensor) -> Tensor:
    """The output with the input's strides, copied only where it has others."""
    return output if output.stride() == input.stride() else torch.empty_like(input).copy_(output)
