"""The gradient of a normalization in closed form, so that the oracle does not rest on autograd."""

from __future__ import annotations

import torch
from torch import Tensor

from normwise.geometry import Geometry
from normwise.reference.moments import grouped, moments


def normalize_backward(
    cotangent: Tensor, input: Tensor, geometry: Geometry, weight: Tensor | None = None, eps: float = 1e-5
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients with respect to input, weight and bias, for statistics of the input itself.

    With ``x̂ = (x − μ) · r``, ``r = 1 / sqrt(σ² + eps)`` and ``ĝ = g · weight``:
    ``dx = r · (ĝ − mean(ĝ) − x̂ · mean(ĝ · x̂))``, ``dweight = Σ g · x̂`` and ``dbias = Σ g``; the means are
    over the elements that share a statistic, and without centring ``mean(ĝ)`` is left out. Float64.

    Source: the chain rule in Ioffe & Szegedy 2015, section 3, with its terms collected.

    >>> x = torch.tensor([[1.0, 3.0]])
    >>> dx, _, _ = normalize_backward(torch.ones(1, 2), x, Geometry.layer(x.shape, (2,)))
    >>> dx.tolist()
    [[0.0, 0.0]]
    """
    mean, var = moments(input, geometry)
    r = torch.rsqrt(var + eps)
    normalized = (grouped(input, geometry) - mean) * r
    g = grouped(cotangent, geometry)
    scaled = g if weight is None else g * weight.double().reshape(1, geometry.groups, -1, 1)
    axes = (0, 2, 3) if geometry.across_samples else (2, 3)
    through_mean = scaled.mean(axes, keepdim=True) if geometry.centred else 0.0
    through_var = normalized * (scaled * normalized).mean(axes, keepdim=True)
    dx = geometry.restore((r * (scaled - through_mean - through_var)).flatten(1, 2))
    return dx, (g * normalized).sum((0, 3)).flatten(), g.sum((0, 3)).flatten()
