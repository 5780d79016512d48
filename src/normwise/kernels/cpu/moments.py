"""Moments of each channel by normwise's kernel."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from normwise.kernels import registry
from normwise.kernels.cpu import library
from normwise.kernels.cpu.call import FIRST, LAST, address, lies_channels_last
from normwise.kernels.gate import is_plain_cpu, why_shut


def attempt_moments(
    backend: str, x: Tensor, sample_weight: Tensor | None
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Count, mean and sum of squared deviations, or None where "auto" was asked for and the kernel cannot run.

    Raises:
        BackendError: the back end was asked for by name and cannot run.
    """
    reason = _why_not(x, sample_weight)
    record = registry.recording()
    if reason is not None:
        if backend != "auto":
            registry.refuse("moments", backend, reason)
        if record is not None:
            record.append(registry.Choice("moments", tuple(x.shape), "aten", None, {"cpu": reason}))
        return None
    if record is not None:
        record.append(registry.Choice("moments", tuple(x.shape), "portable", library.isa()))
    x = x.detach()
    samples, channels, positions = x.shape[0], x.shape[1], math.prod(x.shape[2:])
    last = positions == 1 or (not x.is_contiguous() and lies_channels_last(x))
    if positions == 1 or not last:
        x = x.contiguous()
    count, mean, squares = (torch.empty(n, dtype=torch.float64) for n in (1, channels, channels))
    library.portable().moments(
        library.dtype_code(x.dtype),
        LAST if last else FIRST,
        samples,
        channels,
        positions,
        x.data_ptr(),
        address(sample_weight),
        count.data_ptr(),
        mean.data_ptr(),
        squares.data_ptr(),
    )
    return count[0], mean, squares


def _why_not(x: Tensor, sample_weight: Tensor | None) -> str | None:
    given = (x,) if sample_weight is None else (x, sample_weight)
    if not is_plain_cpu(*given):
        return why_shut(*given)
    if library.dtype_code(x.dtype) is None or x.layout is not torch.strided or x.is_neg():
        return f"the kernels have no {x.dtype}, {x.layout}"
    if x.numel() == 0:
        return "the input is empty"
    return None if library.portable() is not None else library.why_missing("portable")
