"""normwise's own kernels for the CPU, and which calls they take.

`attempt_…` runs a call and gives its result, or gives None where "auto" was asked for and the kernels cannot take
the call or would not be faster. Nothing is validated here; `normwise.functional` does that once.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from normwise.kernels import registry
from normwise.kernels.cpu import library
from normwise.kernels.cpu.call import (
    ACROSS,
    ACTIVATIONS,
    DTYPES,
    GROUP,
    LAYER,
    lies_channels_last,
    plan,
)
from normwise.kernels.cpu.dropout import dropout
from normwise.kernels.cpu.linear import linear, why_blas, why_not as why_not_linear
from normwise.kernels.cpu.normalize import normalize
from normwise.kernels.cpu.outputs import like
from normwise.kernels.cpu.preference import (
    is_too_small_for_onednn,
    is_too_small_for_python,
    slower_from_python,
)
from normwise.kernels.gate import PLAIN, is_plain_cpu, stands_for_itself, why_shut

__all__ = [
    "ACROSS",
    "GROUP",
    "LAYER",
    "attempt_dropout",
    "attempt_linear",
    "attempt_normalize",
    "attempt_weight_norm",
    "is_left_to_torch",
]

_NARROW = (torch.bfloat16, torch.float16)
_FASTEST = ("auto", "cpu", "native")


def is_left_to_torch(operation: str, backend: str, x: Tensor) -> bool:
    """Whether a bare normalization need not be attempted: torch's operator is faster, and nobody asks why."""
    return (
        backend == "auto"
        and library.native() is None
        and is_too_small_for_python(operation, x)
        and registry.recording() is None
    )


def attempt_normalize(
    operation: str,
    backend: str,
    family: int,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    groups: int = 1,
    trailing: int = 0,
    stacked: bool = False,
    batch_statistics: bool = True,
    centred: bool = True,
    eps: float = 1e-5,
    momentum: float = 0.0,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    biased: bool = False,
    batches: Tensor | None = None,
    skipped: Tensor | None = None,
    sample_weight: Tensor | None = None,
    activation: str = "none",
    rate: float = 0.0,
    generator: torch.Generator | None = None,
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
        batch_statistics: of the input, and not the running ones.
        centred: the mean is subtracted.
        eps: under the root.
        momentum: of the running statistics; negative counts all batches alike.
        running_mean: read or moved, (C,), or (K, C) where stacked.
        running_var: read or moved, as the mean.
        biased: the running variance takes the biased variance.
        batches: the counter of batches, raised where it is given.
        skipped: the counter of batches whose statistics are not finite, raised instead.
        sample_weight: (N, S), float32.
        activation: by name.
        rate: of dropout.
        generator: of dropout.

    Raises:
        BackendError: the back end was asked for by name and cannot run.
    """
    reason = None
    if trailing and backend == "auto" and not x.is_contiguous():
        reason = "the normalized axes do not lie together in memory"
    # The native binding has the gate in C++: what it takes needs no further question.
    elif backend in _FASTEST and (native := library.native()) is not None:
        output: Tensor | None = native.normalize(
            family,
            x,
            weight,
            bias,
            residual,
            groups,
            trailing,
            stacked,
            batch_statistics,
            centred,
            eps,
            momentum,
            running_mean,
            running_var,
            batches,
            sample_weight,
            ACTIVATIONS[activation],
            rate,
            generator,
            skipped,
            biased,
        )
        if output is not None:
            if registry.in_block() is not None:
                _note(operation, x, "native")
            return output
    if reason is None and backend == "auto" and residual is None and activation == "none" and not rate:
        reason = slower_from_python(operation, x)
    asked = registry.recording() is not None  # who asks for reasons gets the stronger one
    if reason is not None and not asked:
        return None
    if reason is None or asked:
        channelled = (weight, bias, running_mean, running_var)
        reason = (
            _why_not(x, (residual, sample_weight))
            or _why_not_beside(x, channelled, (batches, skipped), trailing, stacked)
            or reason
        )
    if reason is None and residual is not None and residual.dtype is not x.dtype:
        reason = f"a residual of {residual.dtype} for an input of {x.dtype}"
    if reason is None and rate >= 1.0:
        reason = "dropout drops everything"
    if (
        reason is None
        and family == ACROSS
        and not batch_statistics
        and (running_mean is None or running_var is None)
    ):
        reason = "there are no running statistics"
    if not _runs_portable(operation, backend, x, reason):
        return None
    last = False
    if not x.is_contiguous():
        last = not trailing and lies_channels_last(x, stacked)
        if not last:
            x = x.contiguous()
    call = plan(
        family,
        x.shape,
        x.dtype,
        (weight if weight is not None else bias if bias is not None else x).dtype,
        last,
        groups,
        trailing,
        stacked,
        centred,
        batch_statistics,
        eps,
        activation,
        rate,
        residual is not None,
    )
    if residual is not None:
        residual = like(residual, x)
    state = (momentum, running_mean, running_var, biased, batches, skipped, sample_weight, generator)
    return normalize(call, x, weight, bias, residual, state)


def attempt_dropout(
    backend: str, x: Tensor, rate: float, inplace: bool, models: int, generator: torch.Generator | None
) -> Tensor | None:
    """Drop elements, or None; see `attempt_normalize`. The rate is above 0 and below 1."""
    if backend in _FASTEST and (native := library.native()) is not None:
        output: Tensor | None = native.dropout(x, rate, inplace, models, generator)
        if output is not None:
            if registry.in_block() is not None:
                _note("dropout", x, "native")
            return output
    reason = _why_not(x)
    if reason is None and not (x.is_contiguous() or lies_channels_last(x)):
        reason = "the values do not lie densely"
    if not _runs_portable("dropout", backend, x, reason):
        return None
    return dropout(x, rate, inplace, models, generator)


def attempt_linear(backend: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
    """Multiply and add, or None; see `attempt_normalize`."""
    if backend in _FASTEST and (native := library.native()) is not None:
        output: Tensor | None = native.linear(x, weight, bias)
        if output is not None:
            if registry.in_block() is not None:
                _note("linear", x, "native", _multiplier(x, weight))
            return output
    if backend == "auto" and registry.recording() is None and is_too_small_for_onednn(x, weight):
        return None
    reason = _why_not(x, (weight, bias)) or why_not_linear(x, weight, bias)
    if reason is None and backend == "auto":
        reason = why_blas(x, weight)
    if not _runs_portable("linear", backend, x, reason, _multiplier(x, weight) if reason is None else None):
        return None
    return linear(x, weight, bias)


def attempt_weight_norm(
    backend: str, gain: Tensor, direction: Tensor, axes: tuple[int, ...]
) -> Tensor | None:
    """Weight normalization with one length per row as one node, or None: the operator is torch's either way."""
    native = library.native() if backend in _FASTEST else None
    if native is None or axes != tuple(range(1, direction.dim())):
        return None
    output: Tensor | None = native.weight_norm(gain, direction)
    return output


def _multiplier(x: Tensor, weight: Tensor) -> str | None:
    """The library that multiplies, where somebody asks."""
    if registry.recording() is None:
        return None
    return "oneDNN" if why_blas(x, weight) is None else "BLAS"


def _why_not(x: Tensor, others: tuple[Tensor | None, ...] = ()) -> str | None:
    """Why the kernels cannot take an input, and tensors as large as it, or None; asked by every call."""
    if not is_plain_cpu(x):
        return why_shut(x)
    if x.dtype not in DTYPES or not stands_for_itself(x):
        return f"the kernels have no {x.dtype}, {x.layout}" + (", negated lazily" if x.is_neg() else "")
    if not x.numel():
        return "the input is empty"
    for other in others:
        if other is not None and (type(other) not in PLAIN or not stands_for_itself(other)):
            return why_shut(other) or f"a tensor ({other.layout}) whose values do not lie in its memory"
    return library.why_missing("portable")


def _why_not_beside(
    x: Tensor,
    channelled: tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None],
    counters: tuple[Tensor | None, Tensor | None],
    trailing: int,
    stacked: bool,
) -> str | None:
    """Why the kernels cannot take weight and bias, running mean and variance, and counters beside an input, or None.

    A kernel that believed a wrong size would read what is not there; torch refuses it, in its words.
    """
    shape = x.shape
    if trailing:
        channels = math.prod(shape[-trailing:])
    elif len(shape) < 2 + stacked:
        return "the input has no axis of channels" if any(t is not None for t in channelled) else None
    else:
        channels = shape[0] * shape[2] if stacked else shape[1]
    if library.portable().fit(DTYPES[x.dtype], channels, *channelled, *counters):
        return None
    given = [tensor for tensor in (*channelled, *counters) if tensor is not None]
    shut = why_shut(*given)
    if shut is not None:
        return shut
    for counter in counters:
        if counter is not None and (counter.dtype is not torch.int64 or counter.numel() != 1):
            return f"a counter of {counter.dtype} and {counter.numel()} values"
    for tensor in given:
        if tensor.dtype is not x.dtype and not (tensor.dtype is torch.float32 and x.dtype in _NARROW):
            return f"parameters of {tensor.dtype} for an input of {x.dtype}"
    return "parameters of several dtypes, of another size than the channels, or with gaps"


def _note(operation: str, x: Tensor, binding: str, multiplier: str | None = None) -> None:
    """Note that the kernels run, or a library that multiplies, where it is asked."""
    record = registry.recording()
    if record is not None:
        refused = (
            {}
            if binding == "native"
            else {"native": library.why_missing("native") or "portable was asked for"}
        )
        isa = library.isa() if multiplier is None else None
        record.append(registry.Choice(operation, tuple(x.shape), binding, isa, refused, library=multiplier))


def _runs_portable(
    operation: str, backend: str, x: Tensor, reason: str | None, multiplier: str | None = None
) -> bool:
    """Whether the portable binding runs, noted; raises where another back end was asked for than the one that can."""
    if reason is None and backend == "native":
        reason = library.why_missing("native") or "its gate is shut"
    if reason is None:
        _note(operation, x, "portable", multiplier)
        return True
    if backend != "auto":
        registry.refuse(operation, backend, reason)
    record = registry.recording()
    if record is not None:
        record.append(registry.Choice(operation, tuple(x.shape), "aten", None, {"cpu": reason}))
    return False
