"""Weight normalization that is finite for a direction of zero length."""

from __future__ import annotations

import torch
from torch import Tensor


def weight_norm(gain: Tensor, direction: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The weight ``gain · direction / ‖direction‖``; see `normwise.functional.weight_norm`."""
    norm: Tensor = torch.linalg.vector_norm(direction, dim=axes, keepdim=True)
    # 0/0 is NaN in the value and in both gradients. A length of one in its place gives the weight 0 and the
    # gradient `gain` with respect to the direction, so that training can give the unit a direction.
    return direction * (gain / norm.masked_fill(norm == 0, 1.0))
