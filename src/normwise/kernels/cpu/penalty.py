"""Sums of |w| and w², their gradients and the proximal step: one pass over each tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from normwise.kernels import registry
from normwise.kernels.cpu import library
from normwise.kernels.cpu.outputs import output_like
from normwise.kernels.gate import is_plain_cpu, why_shut

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
    return _pass(tensors, [None] * len(tensors), 0.0, 0.0)


def sums_and_gradients(
    tensors: Sequence[Tensor], wanted: Sequence[bool], l1: float, l2: float
) -> tuple[tuple[float, float], list[Tensor]]:
    """The same sums, and ``l1 · sign(w) + l2 · w`` for each tensor that is wanted, in one pass over memory."""
    outputs = [output_like(t) if is_wanted else None for t, is_wanted in zip(tensors, wanted, strict=True)]
    return _pass(tensors, outputs, l1, l2), [output for output in outputs if output is not None]


def _pass(
    tensors: Sequence[Tensor], outputs: Sequence[Tensor | None], l1: float, l2: float
) -> tuple[float, float]:
    size = square = 0.0
    together = sum(output.nbytes for output in outputs if output is not None)
    run = library.portable().penalty
    for tensor, output in zip(tensors, outputs, strict=True):
        to = 0 if output is None else output.data_ptr()
        own = run(_code(tensor), tensor.numel(), tensor.data_ptr(), to, l1, l2, together)
        size += own[0]
        square += own[1]
    return size, square


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
