"""Sums of |w| and w², their gradients and the proximal step: one pass over each tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from normwise.kernels import registry
from normwise.kernels.cpu import library
from normwise.kernels.gate import is_plain_cpu, why_shut

_PAST_CACHES = 16 << 20
"""Bytes of gradients from which to write them past the caches: they would be gone when the optimizer comes."""

_DENSE = {4: torch.channels_last, 5: torch.channels_last_3d}


def takes(operation: str, tensors: Sequence[Tensor]) -> bool:
    """Whether the kernels run over the tensors, noted; False where "auto" was asked for and they cannot.

    Raises:
        BackendError: a back end was asked for by name and cannot run.
    """
    backend = registry.requested()
    if backend == "aten":
        registry.note_aten(operation, (len(tensors),))
        return False
    reason = _why_not(tensors)
    if reason is not None and backend != "auto":
        registry.refuse(operation, backend, reason)
    record = registry.recording()
    if record is not None:
        ran = ("portable", library.isa(), {}) if reason is None else ("aten", None, {"cpu": reason})
        record.append(registry.Choice(operation, (len(tensors),), *ran))
    return reason is None


def _why_not(tensors: Sequence[Tensor]) -> str | None:
    if not is_plain_cpu(*tensors):
        return why_shut(*tensors)
    for tensor in tensors:
        if library.dtype_code(tensor.dtype) is None or tensor.is_neg() or tensor.layout is not torch.strided:
            return f"the kernels have no {tensor.dtype}, {tensor.layout}"
        # In whatever order, as long as the values fill their memory.
        last = _DENSE.get(tensor.dim())
        if not tensor.is_contiguous() and (last is None or not tensor.is_contiguous(memory_format=last)):
            return "a tensor does not lie densely"
    return None if library.portable() is not None else library.why_missing("portable")


def sums(tensors: Sequence[Tensor]) -> tuple[float, float]:
    """The sums of |w| and of w² over all tensors, in double."""
    size = square = 0.0
    for tensor in tensors:
        own = library.portable().penalty_sums(_code(tensor), tensor.numel(), tensor.data_ptr())
        size += own[0]
        square += own[1]
    return size, square


def gradients(tensors: Sequence[Tensor], l1: float, l2: float) -> tuple[Tensor, ...]:
    """``l1 · sign(w) + l2 · w`` for each tensor, the last one first: the sums have left it in the cache."""
    outputs = tuple(torch.empty_like(tensor) for tensor in tensors)
    past_caches = sum(tensor.nbytes for tensor in tensors) >= _PAST_CACHES
    for tensor, output in zip(reversed(tensors), reversed(outputs), strict=True):
        library.portable().penalty_gradient(
            _code(tensor), tensor.numel(), tensor.data_ptr(), output.data_ptr(), l1, l2, past_caches
        )
    return outputs


def proximal_(tensors: Sequence[Tensor], cut: float, shrink: float) -> None:
    """``w ← sign(w) · max(|w| − cut, 0) / (1 + shrink)``, in place."""
    for tensor in tensors:
        library.portable().proximal(_code(tensor), tensor.numel(), tensor.data_ptr(), cut, shrink)
    increment_version(list(tensors))


def _code(tensor: Tensor) -> int:
    code = library.dtype_code(tensor.dtype)
    if code is None:
        raise TypeError(f"the kernels have no {tensor.dtype}")
    return code
