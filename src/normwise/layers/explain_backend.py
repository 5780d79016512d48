"""Ask what runs for a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from normwise.kernels import registry


def explain_backend(callable: Callable[..., Any], *inputs: Any, **options: Any) -> list[registry.Choice]:
    """Call a layer, a model or a function once, and say for each of normwise's operations in it what ran, and why.

    The call runs as it would in training, under the back end in force (`use_backend`, ``NORMWISE_BACKEND``); afterwards
    buffers and torch's random numbers are as they were.

    Args:
        callable: a layer, a model, or a function of `normwise.functional`.
        inputs: what it is called with.
        options: keyword arguments of the call.

    Returns:
        One `Choice` an operation, in order; printed, it says what ran and why nothing else did.

    Raises:
        BackendError: a back end was asked for by name and cannot run.

    >>> import normwise as nw
    >>> choice = explain_backend(nw.BatchNorm1d(4), torch.ones(8, 4, device="meta"))[0]
    >>> choice.backend, choice.refused["cpu"]
    ('aten', 'a tensor is on meta')
    """
    buffers = list(callable.buffers()) if isinstance(callable, nn.Module) else []
    kept = [buffer.clone() for buffer in buffers]
    try:
        with torch.random.fork_rng(devices=[]), registry.recorded() as choices:
            callable(*inputs, **options)
    finally:
        with torch.no_grad():
            for buffer, value in zip(buffers, kept, strict=True):
                buffer.copy_(value)
    return choices
