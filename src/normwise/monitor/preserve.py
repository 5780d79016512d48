"""Leave a model exactly as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def preserved(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Run the block with the whole model in one mode; give back modes, buffers and the CPU random state after it.

    >>> model = nn.BatchNorm1d(2)
    >>> with preserved(model, training=True):
    ...     _ = model(torch.randn(8, 2))
    >>> model.running_mean.tolist()
    [0.0, 0.0]
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    with torch.random.fork_rng(devices=[]):
        try:
            model.train(training)
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            with torch.no_grad():
                for buffer, value in buffers:
                    buffer.copy_(value)
