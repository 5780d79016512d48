"""Channels of sequences multiplied by numbers near one."""

from __future__ import annotations

import torch
from torch import Tensor


def amplify(series: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
    """Multiply each channel of each sequence by a normal number of mean 1 and deviation `magnitude`.

    Source: Um et al., "Data augmentation of wearable sensor data for Parkinson's disease monitoring", 2017, "scaling".
    """
    factors = 1 + magnitude * torch.randn((*series.shape[:2], 1), generator=generator)
    return series * factors.to(series)
