"""Weight normalization that is finite for a direction of zero length."""

from __future__ import annotations

import torch
from torch import Tensor

from normwise.kernels.gate import is_plain_cpu

_FUSED_DTYPES = (torch.float32, torch.float64)


def weight_norm(gain: Tensor, direction: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The weight ``gain · direction / ‖direction‖``; see `normwise.functional.weight_norm`."""
    # The fused operator takes half the time on small layers; it keeps one length a row, and divides 0 by 0.
    norm: Tensor
    if (
        axes == tuple(range(1, direction.dim()))
        and direction.dtype in _FUSED_DTYPES
        and gain.dtype == direction.dtype
        and is_plain_cpu(gain, direction)
    ):
        weight, norm = torch._weight_norm_interface(direction, gain, 0)
        if norm.all():
            return weight
    norm = torch.linalg.vector_norm(direction, dim=axes, keepdim=True)
    # 0/0 is NaN in the value and in both gradients. A length of one in its place gives the weight 0 and the
    # gradient `gain` with respect to the direction, so that training can give the unit a direction.
    return direction * (gain / norm.masked_fill(norm == 0, 1.0))
