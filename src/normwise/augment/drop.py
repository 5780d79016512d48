"""Feature dropout on tables: entries replaced by their columns' means."""

from __future__ import annotations

import torch
from torch import Tensor


def drop(rows: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
    """Give each entry, with probability `magnitude`, the mean of its column over the batch.

    Nothing is rescaled: a standardised column keeps its mean of about 0, and what is left keeps its unit.

    Source: Vincent et al., "Extracting and composing robust features with denoising autoencoders", 2008, who set
    entries to 0.
    """
    chosen = torch.rand(rows.shape, generator=generator).to(rows.device) < magnitude
    return torch.where(chosen, rows.mean(0), rows)
