"""Normalization within a sample by weighted statistics, in plain operators."""

from __future__ import annotations

import torch
from torch import Tensor


def weighted_norm(
    input: Tensor, part: Tensor, axes: tuple[int, ...], eps: float, *, centred: bool = True
) -> Tensor:
    """``(x − μ) / sqrt(σ² + eps)`` with ``μ = Σ w·x / Σ w`` and ``σ² = Σ w·(x − μ)² / Σ w`` over the axes.

    An element of weight 0 has no part, whatever it is, and is normalized as all others are. Where all weights are zero,
    μ and σ² are 0. Sums are float64, the result float32, float64 for float64 input. Without centring μ is 0.

    Args:
        input: any shape.
        part: weights that broadcast to it.
        axes: over which elements share a statistic.
        eps: added to the variance, under the root.
        centred: subtract the mean.
    """
    wide = torch.float64 if input.dtype == torch.float64 else torch.float32
    seen = input.to(wide)
    part = part.detach().to(wide)
    present = part.expand_as(seen)
    total = present.sum(axes, keepdim=True, dtype=torch.float64).clamp_min(torch.finfo(wide).tiny)
    # NaN in padding times a weight of zero would be NaN.
    counted = seen.masked_fill(part == 0, 0.0)
    if centred:
        mean = (counted * part).sum(axes, keepdim=True, dtype=torch.float64) / total
        # In two parts: rounded to float32, a mean of 1e4 standard deviations is off by a thousandth of one.
        high = mean.to(wide)
        low = (mean - high).to(wide)
        seen = (seen - high) - low
        counted = (counted - high) - low
    var = (counted.square() * part).sum(axes, keepdim=True, dtype=torch.float64) / total
    return seen * torch.rsqrt(var + eps).to(wide)
