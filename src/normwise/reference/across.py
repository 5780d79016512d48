"""Statistics across samples: Batch normalization in training, and in evaluation with given statistics."""

from __future__ import annotations

import torch
from torch import Tensor

from normwise.geometry import Geometry
from normwise.reference._view import affine, grouped, mean_and_variance, ungrouped


def across_samples(
    input: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Normalize each channel by the batch's statistics.

    .. math:: y = (x - \mu) / \sqrt{\sigma^2 + \epsilon} \cdot \gamma + \beta

    Args:
        input: (N, C, *).
        weight: γ, (C,).
        bias: β, (C,).
        eps: ε, beside the biased variance, under the root.

    Returns:
        The output, the mean (C,) and the *unbiased* variance (C,), which running statistics take; NaN for
        one value.

    Raises:
        ArgumentError: the input has fewer than two axes.

    Source: Ioffe & Szegedy 2015, algorithm 1.

    >>> y, mean, var = across_samples(torch.tensor([[1.0], [3.0]]), eps=0.0)
    >>> y.flatten().tolist(), mean.item(), var.item()
    ([-1.0, 1.0], 2.0, 2.0)
    """
    geometry = Geometry.batch(input.shape)
    values = grouped(input, geometry)
    mean, var = mean_and_variance(values, geometry)
    output = ungrouped(affine((values - mean) / torch.sqrt(var + eps), geometry, weight, bias), geometry)
    count = torch.tensor(geometry.count, dtype=input.dtype)
    return output, mean.flatten(), (var * (count / (count - 1))).flatten()


def with_statistics(
    input: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize each channel by a given mean and variance (C,): evaluation.

    The formula, shapes and errors are those of `across_samples`.

    Source: Ioffe & Szegedy 2015, algorithm 2.

    >>> with_statistics(torch.tensor([[5.0]]), torch.tensor([1.0]), torch.tensor([4.0]), eps=0.0)
    tensor([[2.]])
    """
    geometry = Geometry.batch(input.shape)
    values = grouped(input, geometry)
    shape = (1, -1, 1, 1)
    normal = (values - mean.reshape(shape)) / torch.sqrt(var.reshape(shape) + eps)
    return ungrouped(affine(normal, geometry, weight, bias), geometry)
