"""Adaptive instance normalization: the moments of another input."""

from __future__ import annotations

from torch import Tensor

from normwise.errors import ArgumentError, explain
from normwise.functional._wide import root, variance, widened
from normwise.functional.instance_norm import instance_norm
from normwise.functional.modulate import modulate


def adaptive_instance_norm(input: Tensor, style: Tensor, eps: float = 1e-5) -> Tensor:
    """Give each channel of each sample the mean and the deviation that it has in a style.

    ``y = (x − μ(x)) / sqrt(σ²(x) + eps) · sqrt(σ²(s) + eps) + μ(s)``, with moments over the positions and biased
    variances.

    Args:
        input: (N, C, *) with at least two positions.
        style: (N, C, *), of any positions.
        eps: added to both variances, under the roots.

    Returns:
        The input's shape, dtype and layout. Statistics are float32, float64 for float64.

    Raises:
        ArgumentError: (a ValueError) a single position, or a style of other samples or channels.

    Source: Huang & Belongie 2017, equation 8. Their code divides by one less than the number of positions.

    >>> import torch
    >>> adaptive_instance_norm(torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[10.0, 30.0, 20.0, 20.0]]]), eps=0.0)
    tensor([[[12.9289, 27.0711]]])
    """
    if style.dim() < 3 or tuple(style.shape[:2]) != tuple(input.shape[:2]):
        raise ArgumentError(
            explain(
                "AdaIN",
                f"the style must be (N, C, *) with the input's samples and channels, {tuple(input.shape[:2])}",
                f"style of shape {tuple(style.shape)}",
            )
        )
    wide = widened(style)
    places = tuple(range(2, style.dim()))
    deviation = root(variance(wide, places) + eps)
    hat = instance_norm(input, eps=eps)
    return modulate(hat, deviation.flatten(1), wide.mean(places), centre=0.0, who="AdaIN")
