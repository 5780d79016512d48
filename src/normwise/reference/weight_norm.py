"""Weight normalization."""

from __future__ import annotations

import torch
from torch import Tensor


def weight_norm(gain: Tensor, direction: Tensor, axes: tuple[int, ...]) -> Tensor:
    """``w = gain · v / ‖v‖``, and 0 where ``‖v‖ = 0``; float64.

    Source: Salimans & Kingma 2016, equation 2, which leaves ``v = 0`` undefined.

    >>> weight_norm(torch.tensor([[10.0]]), torch.tensor([[3.0, 4.0]]), (1,)).tolist()
    [[6.0, 8.0]]
    """
    v = direction.double()
    norm = v.square().sum(axes, keepdim=True).sqrt()
    return torch.where(norm == 0, torch.zeros_like(v), gain.double() * v / norm)
