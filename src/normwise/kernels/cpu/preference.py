"""Where torch's own operator is as fast as the kernels: there it runs, unless a back end is asked for by name.

The bounds were measured with `normwise bench`, forward and backward, on x86-64 with AVX-512.
"""

from __future__ import annotations

from torch import Tensor


def slower(operation: str, x: Tensor) -> str | None:
    """Why torch's operator is preferred for a call, or None where the kernels are."""
    return None


_FEWEST: dict[str, int] = {"batch_norm": 65536, "group_norm": 65536, "layer_norm": 262144}


def slower_from_python(operation: str, x: Tensor) -> str | None:
    """Why torch's operator is preferred to the portable binding for a bare normalization, or None.

    >>> import torch
    >>> slower_from_python("layer_norm", torch.ones(32, 64))
    'below 262144 elements the call costs more than the kernel saves: see `normwise build-native`'
    """
    fewest = _FEWEST.get(operation, 0)
    if x.numel() >= fewest:
        return None
    return f"below {fewest} elements the call costs more than the kernel saves: see `normwise build-native`"
