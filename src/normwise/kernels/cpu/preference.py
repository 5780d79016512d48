"""Where torch's own operator is as fast as the kernels: there it runs, unless a back end is asked for by name.

The bounds were measured with `normwise bench`, forward and backward, on x86-64 with AVX-512.
"""

from __future__ import annotations

from torch import Tensor


def slower(operation: str, x: Tensor) -> str | None:
    """Why torch's operator is preferred for a call, or None where the kernels are."""
    return None
