"""The running statistic after a batch."""

from __future__ import annotations

from torch import Tensor


def moved(running: Tensor, batch: Tensor, momentum: float | None, batches: int = 0) -> Tensor:
    """Return ``(1 − m) · running + m · batch``, m the momentum or, for the cumulative average, 1 / batches.

    Args:
        running: the statistic before.
        batch: the statistic of the batch; for a variance the unbiased one.
        momentum: the weight of the new batch; None for the cumulative average.
        batches: how many batches there have been, this one included.

    >>> import torch
    >>> moved(torch.tensor([0.0]), torch.tensor([2.0]), 0.1)
    tensor([0.2000])
    """
    weight = 1.0 / batches if momentum is None else momentum
    return (1.0 - weight) * running + weight * batch
