"""The derivative of every activation normalization, written down."""

from __future__ import annotations

import torch
from torch import Tensor

from normwise.geometry import Geometry
from normwise.reference._view import affine, grouped, mean_and_variance, shared_axes, ungrouped


def input_gradient(
    input: Tensor, cotangent: Tensor, geometry: Geometry, weight: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    r"""Gradient with respect to the input of a normalization by its own statistics.

    .. math:: \partial x = (g - \overline{g} - \hat x \, \overline{g \hat x}) / \sqrt{\sigma^2 + \epsilon},
        \quad g = \gamma \, \partial y, \quad \hat x = (x - \mu) / \sqrt{\sigma^2 + \epsilon}

    The bars are means over the elements that share a statistic; the first is absent where the geometry does
    not centre.

    Args:
        input: of the geometry's shape.
        cotangent: ∂y, of the same shape.
        geometry: which elements share a statistic.
        weight: γ, one value per channel.
        eps: ε, as in the forward pass.

    Source: Ioffe & Szegedy 2015, section 3, with ∂σ² and ∂μ put in.

    >>> x = torch.tensor([[1.0, 3.0]])
    >>> input_gradient(x, torch.ones(1, 2), Geometry.layer(x.shape, (2,)))
    tensor([[0., 0.]])
    """
    axes = shared_axes(geometry)
    values = grouped(input, geometry)
    mean, var = mean_and_variance(values, geometry)
    scale = torch.rsqrt(var + eps)
    normal = (values - mean) * scale
    g = affine(grouped(cotangent, geometry), geometry, weight, None)
    centre = g.mean(axes, keepdim=True) if geometry.centred else 0.0
    return ungrouped((g - centre - normal * (g * normal).mean(axes, keepdim=True)) * scale, geometry)
