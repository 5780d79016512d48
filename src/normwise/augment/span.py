"""A span of an axis, for each image or row its own."""

from __future__ import annotations

import torch
from torch import Tensor


def covered(batch: Tensor, axis: int, magnitude: float, side: Tensor, place: Tensor) -> Tensor:
    """Return (N, extent): which places along `axis` lie in a span of `side` · `magnitude` of the extent.

    Args:
        batch: what is covered; first axis N.
        axis: of the span.
        magnitude: the largest share of the extent.
        side: (N,) in 0 … 1, the span's length as a share of the largest.
        place: (N,) in 0 … 1, where it lies between the two ends.
    """
    size = batch.shape[axis]
    length = side * (magnitude * size)
    start = place * (size - length)
    middle = torch.arange(size, dtype=batch.dtype, device=batch.device) + 0.5
    return (middle >= start[:, None]) & (middle < (start + length)[:, None])
