"""Normal noise on every entry."""

from __future__ import annotations

import torch
from torch import Tensor


def add_noise(batch: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
    """Add to each entry a normal number of deviation `magnitude`; "jitter" in the literature on time series.

    Source: Bishop, "Training with noise is equivalent to Tikhonov regularization", 1995.
    """
    return batch + magnitude * torch.randn(batch.shape, generator=generator).to(batch)
