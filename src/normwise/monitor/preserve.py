"""Leave a model exactly as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from normwise.models.left_alone import left_alone


@contextmanager
def preserved(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Run the block with the whole model in one mode; give back modes, buffers and the CPU random state after it.

    >>> model = nn.BatchNorm1d(2)
    >>> with preserved(model, training=True):
    ...     _ = model(torch.randn(8, 2))
    >>> model.running_mean.tolist()
    [0.0, 0.0]
    """
    with torch.random.fork_rng(devices=[]), left_alone(model, training=training):
        yield
