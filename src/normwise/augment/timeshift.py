"""Sequences moved along their time."""

from __future__ import annotations

import torch
from torch import Tensor


def shift_time(series: Tensor, magnitude: float, draws: Tensor) -> Tensor:
    """Move each sequence by up to ± `magnitude` of its length, in whole steps; its ends are repeated outside."""
    length = series.shape[-1]
    steps = ((2 * draws[0] - 1) * (magnitude * length)).round().long()
    places = torch.arange(length, device=series.device) - steps[:, None]
    index = places.clamp(0, max(0, length - 1))[:, None, :]
    return series.gather(-1, index.expand_as(series))
