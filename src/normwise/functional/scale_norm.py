"""Scale normalization: vectors of one learned length."""

from __future__ import annotations

import torch
from torch import Tensor

from normwise.functional._wide import widened


def scale_norm(input: Tensor, weight: Tensor, eps: float = 1e-5) -> Tensor:
    """Give the vectors along the last axis one length.

    ``y = weight · x / max(‖x‖₂, eps)``.

    Args:
        input: (*, C).
        weight: one value, the length.
        eps: the least length that is divided by; shorter vectors stay shorter.

    Returns:
        The input's shape and dtype. The length is float32, float64 for float64 input.

    Source: Nguyen & Salazar 2019, equation 5.

    >>> scale_norm(torch.tensor([3.0, 4.0]), torch.tensor(10.0))
    tensor([6., 8.])
    """
    wide = widened(input)
    # The square is bounded, not its root, which has an infinite gradient at 0.
    least = max(eps * eps, torch.finfo(wide.dtype).tiny)
    squares = wide.square().sum(-1, keepdim=True).clamp_min(least)
    return (wide * torch.rsqrt(squares) * weight.to(wide.dtype)).to(input.dtype)
