"""An input as (N, G, C / G, S), and statistics over the axes that share them."""

from __future__ import annotations

from torch import Tensor

from normwise.geometry import Geometry


def grouped(input: Tensor, geometry: Geometry) -> Tensor:
    """The input as (N, G, C / G, S)."""
    per_group = geometry.channels // max(geometry.groups, 1)
    return geometry.view(input).reshape(geometry.samples, geometry.groups, per_group, geometry.positions)


def ungrouped(values: Tensor, geometry: Geometry) -> Tensor:
    """The inverse of `grouped`."""
    return geometry.restore(values.reshape(geometry.samples, geometry.channels, geometry.positions))


def shared_axes(geometry: Geometry) -> tuple[int, ...]:
    """The axes of `grouped` along which elements share a statistic."""
    return (0, 2, 3) if geometry.across_samples else (2, 3)


def mean_and_variance(values: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """Mean (zero where the geometry does not centre) and biased variance about it, kept as axes of size 1.

    Two passes, so that a mean much larger than the spread costs no digits: E[x²] − E[x]² would cancel.
    """
    axes = shared_axes(geometry)
    mean = values.mean(axes, keepdim=True)
    if not geometry.centred:
        mean = mean * 0
    return mean, (values - mean).square().mean(axes, keepdim=True)


def affine(values: Tensor, geometry: Geometry, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Scale and shift per channel."""
    shape = (1, values.shape[1], values.shape[2], 1)
    if weight is not None:
        values = values * weight.reshape(shape)
    if bias is not None:
        values = values + bias.reshape(shape)
    return values
