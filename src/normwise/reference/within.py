"""Statistics within a sample: Group, Instance, Layer and RMS normalization are one formula."""

from __future__ import annotations

import torch
from torch import Tensor

from normwise.geometry import Geometry
from normwise.reference._view import affine, grouped, mean_and_variance, ungrouped


def within_sample(
    input: Tensor,
    geometry: Geometry,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    r"""Normalize by the statistics that the geometry shares.

    .. math:: y = (x - \mu) / \sqrt{\sigma^2 + \epsilon} \cdot \gamma + \beta

    with μ = 0 and σ² the mean square where the geometry does not centre (RMS).

    Args:
        input: of the geometry's shape.
        geometry: one of ``Geometry.group``, ``instance``, ``layer``, ``layer_over_channels``, ``rms``.
        weight: γ, one value per channel.
        bias: β, one value per channel.
        eps: ε, beside the biased variance, under the root.

    Source: Ba, Kiros & Hinton 2016; Ulyanov et al. 2016; Wu & He 2018; Zhang & Sennrich 2019.

    >>> x = torch.tensor([[3.0, 4.0]])
    >>> within_sample(x, Geometry.rms(x.shape, (2,)), eps=0.0) * 12.5**0.5
    tensor([[3., 4.]])
    """
    values = grouped(input, geometry)
    mean, var = mean_and_variance(values, geometry)
    return ungrouped(affine((values - mean) / torch.sqrt(var + eps), geometry, weight, bias), geometry)
