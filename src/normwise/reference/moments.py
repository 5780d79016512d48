"""Mean and variance of the elements that share a statistic.

Index convention: n sample, g group of channels, c channel within the group, s position.
"""

from __future__ import annotations

import torch
from torch import Tensor

from normwise.geometry import Geometry


def grouped(input: Tensor, geometry: Geometry) -> Tensor:
    """The input in float64 as (n, g, c, s)."""
    x = geometry.view(input).double()
    return x.reshape(x.shape[0], geometry.groups, x.shape[1] // max(geometry.groups, 1), x.shape[2])


def moments(input: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """Mean and biased variance, each (n or 1, g, 1, 1); without centring 0 and the mean square.

    ``μ = Σ x / m`` and ``σ² = Σ (x − μ)² / m`` over the m = `geometry.count` elements.

    >>> mean, var = moments(torch.tensor([[1.0], [3.0]]), Geometry.batch((2, 1)))
    >>> mean.item(), var.item()
    (2.0, 1.0)
    """
    x = grouped(input, geometry)
    axes = (0, 2, 3) if geometry.across_samples else (2, 3)
    mean = x.mean(axes, keepdim=True) if geometry.centred else torch.zeros((), dtype=torch.float64)
    return mean, (x - mean).square().mean(axes, keepdim=True)


def affine(normalized: Tensor, geometry: Geometry, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Weight and bias per channel on (n, g, c, s), answered in the input's shape."""
    y = normalized.flatten(1, 2)
    if weight is not None:
        y = y * weight.double().reshape(1, -1, 1)
    if bias is not None:
        y = y + bias.double().reshape(1, -1, 1)
    return geometry.restore(y)
