"""Normalization by a learned mixture of instance, layer and batch statistics.

Index convention: (N, C, S) are samples, channels, positions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from normwise.errors import ArgumentError, explain
from normwise.functional._across import (
    centred,
    check_several,
    finished,
    mean_over,
    over_positions,
    per_channel,
)
from normwise.functional._channels import check_channels
from normwise.functional._wide import widened
from normwise.kernels.aten import Running


def switchable_norm(
    input: Tensor,
    running: Running | None,
    mean_weight: Tensor,
    var_weight: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    eps: float = 1e-5,
    *,
    moves: bool = True,
) -> Tensor:
    """Normalize by mixtures of the means and of the variances of instance, layer and batch normalization.

    ``y = (x − Σ_k p_k μ_k) / sqrt(Σ_k q_k σ²_k + eps) · weight + bias`` with ``p = softmax(mean_weight)`` and
    ``q = softmax(var_weight)``; k goes over instance, layer and batch, in this order. All variances are biased; the
    running one is the unbiased one of the batch, and with the running mean takes the batch's place outside of training.
    Where there is one position a channel, instance statistics are the value itself and zero: they have no part,
    and the softmax goes over the other two.

    Args:
        input: (N, C, *).
        running: running statistics, moved in training; None where nothing is tracked and `training` holds.
        mean_weight: (3,), before the softmax.
        var_weight: (3,), before the softmax.
        weight: (C,) or None for 1.
        bias: (C,) or None for 0.
        training: use the batch's statistics.
        eps: added to the variance, under the root.
        moves: move the running statistics in training.

    Returns:
        The input's shape, dtype and layout. Statistics are float64, the rest float32, float64 for float64 input.

    Raises:
        ArgumentError: (a ValueError) one value per channel in training, or no running statistics where they are needed.

    Source: Luo et al. 2019, equations 2 to 5.

    >>> values = torch.tensor([[[0.0, 2.0], [4.0, 6.0]]])
    >>> only_instances = torch.tensor([0.0, -100.0, -100.0])
    >>> switchable_norm(values, None, only_instances, only_instances, training=True, eps=1e-12)
    tensor([[[-1.,  1.],
             [-1.,  1.]]])
    """
    check_channels("SwitchableNorm", input, None)
    seen = widened(input)
    places = over_positions(seen)
    count = input.shape[0] * math.prod(input.shape[2:])
    # Means and variances (N, C, 1, …); those of larger sets follow from them without squares of means.
    mean = mean_over(seen, places)
    var = mean_over(centred(seen, mean).square(), places) if places else torch.zeros_like(mean)
    layer = _merged(mean, var, 1)
    if training:
        check_several("SwitchableNorm", input)
        batch = _merged(mean, var, 0)
        if running is not None and moves and count:
            unbiased = 1.0 if running.biased else count / (count - 1)
            running.track(*(values.detach().flatten() for values in (batch[0], batch[1] * unbiased)))
    elif running is None:
        raise ArgumentError(
            explain("SwitchableNorm", "running statistics are needed outside of training", "None")
        )
    else:
        batch = per_channel(running.mean.double(), input), per_channel(running.var.double(), input)
    kinds = [layer, batch] if math.prod(input.shape[2:]) == 1 else [(mean, var), layer, batch]
    means, variances = zip(*kinds, strict=True)
    output = centred(seen, _mixed(mean_weight, means))
    output = output * torch.rsqrt(_mixed(var_weight, variances) + eps).to(seen.dtype)
    return finished(output, input, weight, bias)


def _merged(mean: Tensor, var: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of the union of sets of one size, which lie along an axis."""
    whole = mean_over(mean, (axis,))
    return whole, mean_over(var + (mean - whole).square(), (axis,))


def _mixed(scores: Tensor, values: tuple[Tensor, ...]) -> Tensor:
    """The mixture by a softmax over the last scores."""
    shares = torch.softmax(scores.double()[-len(values) :], 0)
    mixture = torch.zeros_like(values[0])
    for share, value in zip(shares, values, strict=True):
        mixture = mixture + share * value
    return mixture
