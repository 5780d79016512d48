"""EvoNorm-S0: a gate in the place of the activation, over the standard deviation of a group."""

from __future__ import annotations

import torch
from torch import Tensor

from normwise.errors import ArgumentError, explain
from normwise.functional._channels import check_channels
from normwise.functional._wide import affine, beside, variance, widened
from normwise.geometry import divisors


def evo_norm_s0(
    input: Tensor,
    num_groups: int,
    v: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Gate each element, and divide it by the standard deviation of its group of channels, sample by sample.

    ``y = x · sigmoid(v · x) / sqrt(σ² + eps) · weight + bias``, with the biased variance σ² of a group; nothing is
    centred.

    Args:
        input: (N, C, *).
        num_groups: a divisor of C.
        v: (C,).
        weight: (C,) or None for 1.
        bias: (C,) or None for 0.
        eps: added to the variance, under the root.

    Returns:
        The input's shape, dtype and layout. The variance is float32, float64 for float64 input.

    Raises:
        ArgumentError: (a ValueError) no axis of channels, another number of them, or one that does not divide into
            the groups.

    Source: Liu, Brock, Simonyan & Le 2020, table 2.

    >>> evo_norm_s0(torch.tensor([[1.0, 3.0]]), 1, torch.full((2,), 100.0), eps=1e-12)
    tensor([[1., 3.]])
    """
    check_channels("EvoNormS0", input, v.shape[0])
    channels = input.shape[1]
    check_groups("EvoNormS0", num_groups, channels)
    wide = widened(input)
    gated = wide * torch.sigmoid(wide * beside(v, wide))
    grouped = wide.reshape(input.shape[0], num_groups, channels // num_groups, *input.shape[2:])
    rstd = torch.rsqrt(variance(grouped, tuple(range(2, grouped.dim()))) + eps)
    spread = rstd.expand(-1, -1, channels // num_groups, *(1,) * (input.dim() - 2)).flatten(1, 2)
    return affine(gated * spread, weight, bias).to(input.dtype)


def check_groups(who: str, num_groups: int, channels: int) -> None:
    """Raise unless the channels divide into the groups."""
    if num_groups < 1 or channels % num_groups:
        raise ArgumentError(
            explain(
                who,
                "the number of channels must be divisible by the number of groups",
                f"{channels} and {num_groups}",
                f"use a divisor of {channels} ({', '.join(map(str, divisors(channels)))})",
            )
        )
