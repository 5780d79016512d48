"""A model looked at in one mode, and given back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.parameter import UninitializedBuffer


@contextmanager
def left_alone(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Run the block with the whole model in one mode; give back modes and buffers after it."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(b, b.detach().clone()) for b in model.buffers() if not isinstance(b, UninitializedBuffer)]
    try:
        model.train(training)
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
