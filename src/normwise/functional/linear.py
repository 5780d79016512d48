"""A linear map."""

from __future__ import annotations

from torch import Tensor
from torch.compiler import is_compiling
from torch.nn.functional import linear as by_torch

from normwise.kernels import cpu
from normwise.kernels.registry import note_aten, requested


def linear(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, *, backend: str | None = None
) -> Tensor:
    """``input @ weight.T + bias``; `torch.nn.functional.linear`.

    torch brings two libraries that multiply float32 matrices on a CPU, and always calls the BLAS. On AMD processors
    with AVX-512 at full width (Zen 5) oneDNN is about twice as fast; there large products, forward and backward, run
    in oneDNN, and all others in the BLAS. Its rounding error is up to 1.7 times the BLAS's for values of both signs,
    and up to 3 times where all have one; sums of more than 1024 terms are cut into pieces of 512 to keep it there.
    Under the native back end the layer is one node of autograd, which saves a few microseconds a call at any size.

    Args:
        input: (*, in).
        weight: (out, in).
        bias: (out,) or None.
        backend: one of `normwise.kernels.registry.BACKENDS`; None for the one in force.

    Returns:
        (*, out), of the input's dtype.

    Raises:
        RuntimeError: torch's own, where the sizes do not fit.
        BackendError: the back end was asked for by name and cannot run.

    >>> import torch
    >>> linear(torch.ones(2, 3), torch.ones(1, 3), torch.tensor([0.5]))
    tensor([[3.5000],
            [3.5000]])
    """
    if is_compiling():
        if backend is not None:
            requested(backend, compiled=True)  # refuses what cannot be compiled
        return by_torch(input, weight, bias)
    return linear_uncompiled(input, weight, bias, backend)


def linear_uncompiled(input: Tensor, weight: Tensor, bias: Tensor | None, backend: str | None) -> Tensor:
    """`linear` where the caller has asked already that nothing is being compiled."""
    backend = requested(backend, compiled=False)
    if backend == "aten":
        note_aten("linear", input.shape)
    else:
        output = cpu.attempt_linear(backend, input, weight, bias)
        if output is not None:
            return output
    return by_torch(input, weight, bias)
