"""normwise's own kernels for the CPU, and which calls they take.

`attempt_…` runs a call and gives its result, or gives None where "auto" was asked for and the kernels cannot take
the call or would not be faster. Nothing is validated here; `normwise.functional` does that once.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from normwise.kernels import registry
from normwise.kernels.cpu import library
from normwise.kernels.cpu.call import ACROSS, GROUP, LAST, LAYER, Call, channels_in, dense, like
from normwise.kernels.cpu.dropout import dropout
from normwise.kernels.cpu.normalize import normalize
from normwise.kernels.cpu.preference import slower
from normwise.kernels.gate import is_plain_cpu, why_shut

__all__ = ["ACROSS", "GROUP", "LAYER", "attempt_dropout", "attempt_normalize"]

_DTYPES = library._DTYPES
_NARROW = (torch.bfloat16, torch.float16)
_FASTEST = ("auto", "cpu", "native")


def attempt_normalize(
    operation: str,
    backend: str,
    family: int,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    *,
    groups: int = 1,
    trailing: int = 0,
    stacked: bool = False,
    **options: Any,
) -> Tensor | None:
    """Normalize in one pass, or None.

    Args:
        operation: names the function in errors and choices.
        backend: as `normwise.kernels.registry.requested` gave it; not "aten".
        family: `ACROSS`, `GROUP` or `LAYER`.
        x: (N, C, *), or (*, *normalized) where `trailing` is given.
        weight: (C,) or None.
        bias: (C,) or None.
        residual: of x's shape, or None.
        groups: of channels that share a statistic, for `GROUP`.
        trailing: axes at the end that are normalized, for layer normalization of what lies together.
        stacked: x is (K, N, C, *).
        options: the further fields of `Call`.

    Raises:
        BackendError: the back end was asked for by name and cannot run.
    """
    parameters = (weight, bias, options.get("running_mean"), options.get("running_var"))
    reason = _why_not(x, parameters, residual)
    # A kernel that believed a wrong size would read what is not there; torch refuses it, in its words.
    if reason is None and not trailing and x.dim() < 2 + stacked:
        reason = "the input has no axis of channels"
    if reason is None:
        size = (
            math.prod(x.shape[-trailing:]) if trailing else x.shape[0] * x.shape[2] if stacked else x.shape[1]
        )
        if any(tensor is not None and tensor.numel() != size for tensor in parameters):
            reason = "parameters of another size than the channels"
    if reason is None and options.get("rate", 0.0) >= 1.0:
        reason = "dropout drops everything"
    if reason is None and trailing and backend == "auto" and not x.is_contiguous():
        reason = "the normalized axes do not lie together in memory"
    call = None
    if reason is None:
        if trailing:
            x = x if x.is_contiguous() else x.contiguous()
            normalized = math.prod(x.shape[-trailing:])
            call = Call(family, x.numel() // normalized, normalized, 1, LAST, 1, 1, True)
        else:
            sizes = channels_in(x, stacked)
            if sizes is None:
                x = x.contiguous()
                sizes = dense(x, stacked)
            samples, channels, positions, layout = sizes
            count = channels if family == ACROSS else groups
            call = Call(family, samples, channels, positions, layout, count, x.shape[0] if stacked else 1)
        for name, value in options.items():
            setattr(call, name, value)
        if backend == "auto":
            reason = slower(operation, call, x)
    if reason is not None or call is None:
        _pass_on(operation, backend, x, reason or "")
        return None
    binding = _binding(operation, backend, x)
    if residual is not None:
        residual = like(residual, x)
    if binding == "native":
        result: Tensor = library.native().normalize(call, x, weight, bias, residual)
        return result
    return normalize(call, x, weight, bias, residual)


def attempt_dropout(
    backend: str, x: Tensor, rate: float, inplace: bool, models: int, generator: torch.Generator | None
) -> Tensor | None:
    """Drop elements, or None; see `attempt_normalize`. The rate is above 0 and below 1."""
    reason = _why_not(x, (), None)
    if reason is None and not (x.is_contiguous() or channels_in(x) is not None):
        reason = "the values do not lie densely"
    if reason is not None:
        _pass_on("dropout", backend, x, reason)
        return None
    _binding("dropout", backend, x)
    return dropout(x, rate, inplace, models, generator)


def _why_not(x: Tensor, parameters: tuple[Tensor | None, ...], residual: Tensor | None) -> str | None:
    """Why the kernels cannot take the tensors, or None."""
    present = [tensor for tensor in parameters if tensor is not None]
    if not is_plain_cpu(x, *present) or (residual is not None and not is_plain_cpu(residual)):
        return why_shut(x, *present, *(() if residual is None else (residual,)))
    dtype = x.dtype
    if dtype not in _DTYPES or x.layout is not torch.strided or x.is_neg():
        return f"the kernels have no {dtype}, {x.layout}" + (", negated lazily" if x.is_neg() else "")
    if x.numel() == 0:
        return "the input is empty"
    if present:
        first = present[0].dtype
        if first is not dtype and not (first is torch.float32 and dtype in _NARROW):
            return f"parameters of {first} for an input of {dtype}"
        for tensor in present:
            if tensor.dtype is not first or not tensor.is_contiguous():
                return "parameters of several dtypes, or with gaps"
    if residual is not None and (residual.dtype is not dtype or residual.is_neg()):
        return f"a residual of {residual.dtype} for an input of {dtype}"
    if library.portable() is None:
        return library.why_missing("portable")
    return None


def _pass_on(operation: str, backend: str, x: Tensor, reason: str) -> None:
    """Note that torch's operators run, or raise where another back end was asked for."""
    if backend != "auto":
        registry.refuse(operation, backend, reason)
    record = registry.recording()
    if record is not None:
        record.append(registry.Choice(operation, tuple(x.shape), "aten", None, {"cpu": reason}))


def _binding(operation: str, backend: str, x: Tensor) -> str:
    """The binding that runs, noted; an absent one that was asked for by name raises."""
    native = backend in _FASTEST and library.native() is not None
    if backend == "native" and not native:
        registry.refuse(operation, backend, library.why_missing("native") or "")
    binding = "native" if native else "portable"
    record = registry.recording()
    if record is not None:
        refused = {} if native else {"native": library.why_missing("native") or "portable was asked for"}
        record.append(registry.Choice(operation, tuple(x.shape), binding, library.isa(), refused))
    return binding
