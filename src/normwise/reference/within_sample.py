"""Statistics within a sample: group, instance, layer and root mean square normalization."""

from __future__ import annotations

import torch
from torch import Tensor

from normwise.geometry import Geometry
from normwise.reference.moments import affine, grouped, moments


def within_sample(
    input: Tensor,
    geometry: Geometry,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize each sample by its own statistics.

    ``y = (x − μ) / sqrt(σ² + eps) · weight + bias`` with the biased variance; without centring μ is 0 and σ²
    the mean square. Weight and bias hold one value per channel of the geometry; float64.

    Source: Wu & He 2018, equations 1 to 6, of which instance and layer normalization are cases; without
    centring Zhang & Sennrich 2019, equation 4.

    >>> x = torch.tensor([[1.0, 3.0]])
    >>> within_sample(x, Geometry.layer(x.shape, (2,)), eps=0.0).tolist()
    [[-1.0, 1.0]]
    """
    mean, var = moments(input, geometry)
    return affine((grouped(input, geometry) - mean) / torch.sqrt(var + eps), geometry, weight, bias)
