"""Spans of sequences that carry nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from normwise.augment.span import covered


def mask_time(series: Tensor, magnitude: float, draws: Tensor) -> Tensor:
    """Replace in each sequence a span of up to `magnitude` of its length by its channels' means over time.

    Source: Park et al., "SpecAugment: a simple data augmentation method for automatic speech recognition", 2019,
    section 2, time masking.
    """
    hidden = covered(series, -1, magnitude, draws[0], draws[1])[:, None, :]
    return torch.where(hidden, series.mean(-1, keepdim=True), series)
