"""Where torch's own operator is as fast as the kernels: there it runs, unless a back end is asked for by name.

The bounds were measured with `normwise bench`, forward and backward, on x86-64 with AVX-512.
"""

from __future__ import annotations

import functools
import sys

import torch
from torch import Tensor

from normwise.kernels.cpu.portable import load as load_portable

SHORTEST_AXIS = 8
"""Of a matrix product, in any of its three axes, for oneDNN to be the faster library."""

_FULL_WIDTH = 26  # AMD's family from which on AVX-512 runs at full width


@functools.cache
def products_for_onednn() -> int:
    """Multiply-adds from which oneDNN multiplies float32 matrices faster than the BLAS that torch calls.

    On AMD processors of family 26 (Zen 5), measured with two threads, MKL reaches 140 to 160 GFLOP/s where oneDNN, at
    the full width of AVX-512, reaches 300 to 400. Other processors were not measured: there the BLAS stays, and the
    number is larger than any product.

    >>> products_for_onednn() >= 1 << 22
    True
    """
    kernels, _ = load_portable()
    # The operator is the one that torch's compiler uses for linear layers; not every build of torch has it.
    if (
        kernels is None
        or kernels.isa() != "avx512"
        or kernels.amd_family() < _FULL_WIDTH
        or not torch._C.has_mkl
        or not torch._C._has_mkldnn
        or not hasattr(torch.ops.mkldnn, "_linear_pointwise")
    ):
        return sys.maxsize
    return 1 << 22


def is_too_small_for_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether the BLAS multiplies because of the size alone: the cheapest question, and the answer for most layers."""
    return weight.dim() == 2 and x.numel() * weight.shape[0] < products_for_onednn()


_FEWEST: dict[str, int] = {
    "batch_norm": 65536,
    "group_norm": 65536,
    "instance_norm": 262144,
    "layer_norm": 262144,
}


def slower_from_python(operation: str, x: Tensor) -> str | None:
    """Why torch's operator is preferred to the portable binding for a bare normalization, or None.

    >>> import torch
    >>> slower_from_python("layer_norm", torch.ones(32, 64))
    'below 262144 elements the call costs more than the kernel saves: see `normwise build-native`'
    """
    return _too_small(_FEWEST[operation]) if is_too_small_for_python(operation, x) else None


def is_too_small_for_python(operation: str, x: Tensor) -> bool:
    """Whether torch's operator is faster than the portable binding because of the size of a bare normalization."""
    if x.numel() >= _FEWEST.get(operation, 0):
        return False
    return operation != "instance_norm" or x.is_contiguous()  # torch's copies what lies otherwise, twice


@functools.cache
def _too_small(fewest: int) -> str:
    return f"below {fewest} elements the call costs more than the kernel saves: see `normwise build-native`"
