"""Local response normalization: each channel over the squares of its neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from normwise.errors import ArgumentError, explain
from normwise.functional._wide import widened


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Divide each element by a power of the mean square of its neighbours among the channels.

    ``y = x / (k + alpha / size · Σ x²)^beta``, over the `size` channels from ``c − ⌊size / 2⌋`` on; beyond the
    first and the last channel there are zeros.

    Args:
        input: (N, C, *) with at least one axis of positions.
        size: the number of neighbours, the channel itself among them.
        alpha: weight of the mean square.
        beta: the exponent.
        k: added to it. With 0, an element among zeros alone stays zero, with a gradient of 1.

    Returns:
        The input's shape, dtype and layout. Squares and powers are float32, float64 for float64 input.

    Raises:
        ArgumentError: (a ValueError) fewer than three axes.

    Source: Krizhevsky, Sutskever & Hinton 2012, section 3.3; as torch, with alpha over `size`.

    >>> local_response_norm(torch.tensor([[[3.0], [4.0]]]), 1, alpha=1.0, beta=0.5, k=0.0).flatten()
    tensor([1., 1.])
    """
    if input.dim() < 3:
        raise ArgumentError(
            explain(
                "LocalResponseNorm",
                "Expected 3D or higher dimensionality input (N, C, *)",
                f"{input.dim()}D input of size {tuple(input.shape)}",
                "of features without positions, add one with unsqueeze(-1)",
            )
        )
    wide = widened(input)
    pad = (*(0, 0) * (input.dim() - 2), size // 2, (size - 1) // 2)
    squares = torch.nn.functional.pad(wide.square(), pad)
    base = squares.unfold(1, size, 1).sum(-1) * (alpha / size) + k
    if k == 0.0:
        # 0 / 0 otherwise.
        base = torch.where(base == 0.0, 1.0, base)
    return (wide * base.pow(-beta)).to(input.dtype)
