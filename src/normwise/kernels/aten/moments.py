"""Moments of each channel in torch's operators."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def moments(input: Tensor, sample_weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Count, mean and sum of squared deviations; see `normwise.functional.moments`. The weights are (N, S)."""
    seen = input.double().flatten(2) if input.dim() > 2 else input.double().unsqueeze(2)
    if sample_weight is None:
        part = torch.ones((), dtype=torch.float64, device=input.device)
        count = part * (seen.shape[0] * seen.shape[2])
    else:
        part = sample_weight.double().unsqueeze(1)
        count = part.sum()
        seen = seen.masked_fill(part == 0, 0.0)
    mean = (seen * part).sum((0, 2)) / count.clamp_min(1e-300)
    squares = ((seen - mean[:, None]).square() * part).sum((0, 2))
    return count, mean, squares
