"""Mean and variance per channel of what comes in parts."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from normwise.functional import Moments, moments


def rows(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Values as (n, channels) in float64: the last axes of that shape are channels, or axis 1 where there is none.

    >>> rows(torch.zeros(2, 3, 5), ()).shape, rows(torch.zeros(2, 3, 5), (5,)).shape
    (torch.Size([10, 3]), torch.Size([6, 5]))
    """
    wide = values.detach().double()
    if shape:
        return wide.reshape(-1, math.prod(shape))
    return wide.movedim(1, -1).reshape(-1, wide.shape[1])


class Pooled:
    """Count, mean and biased variance of (n, channels) so far.

    >>> pooled = Pooled()
    >>> for part in ([[1.0]], [[2.0], [6.0]]):
    ...     pooled.add(torch.tensor(part))
    >>> pooled.count, pooled.mean.tolist(), round(float(pooled.var), 3)
    (3, [3.0], 4.667)
    """

    def __init__(self) -> None:
        self._whole: Moments | None = None

    @property
    def count(self) -> int:
        """How many values a channel had."""
        return 0 if self._whole is None else int(self._whole.count)

    @property
    def mean(self) -> Tensor:
        """Of each channel."""
        return torch.zeros(1, dtype=torch.float64) if self._whole is None else self._whole.mean

    @property
    def var(self) -> Tensor:
        """Of each channel, biased."""
        return torch.zeros_like(self.mean) if self._whole is None else self._whole.squares / self._whole.count

    def add(self, part: Tensor) -> None:
        """Take in (n, channels) more values."""
        if part.numel():
            found = moments(part)
            self._whole = found if self._whole is None else self._whole.merged(found)
