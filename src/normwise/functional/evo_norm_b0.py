"""EvoNorm-B0: a normalization with its nonlinearity, found by evolution."""

from __future__ import annotations

import math

import torch
from torch import Tensor

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
from normwise.kernels import aten


def evo_norm_b0(
    input: Tensor,
    running_var: Tensor,
    v: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-3,
    *,
    num_batches_tracked: Tensor | None = None,
    num_batches_skipped: Tensor | None = None,
    moves: bool = True,
) -> Tensor:
    """Scale by the larger of the batch's deviation and a line in x: the input is not centred, the output not symmetric.

    ``y = x / max(sqrt(s²_batch + eps), v · x + sqrt(s²_instance + eps)) · weight + bias``, with biased variances per
    channel; outside of training s²_batch is the running one, which takes the unbiased variance.

    Args:
        input: (N, C, *).
        running_var: (C,), changed in place in training.
        v: (C,).
        weight: (C,) or None for 1.
        bias: (C,) or None for 0.
        training: use the batch's variance.
        momentum: weight of the new batch; None counts all batches alike, by `num_batches_tracked`.
        eps: added to both variances, under the roots.
        num_batches_tracked: a counter without dimensions.
        num_batches_skipped: a counter without dimensions, of batches that were not finite.
        moves: move the running variance in training.

    Returns:
        The input's shape, dtype and layout. Statistics are float64, the rest float32, float64 for float64 input.

    Raises:
        ArgumentError: (a ValueError) one value per channel in training.

    Source: Liu et al. 2020, table 2.

    >>> x = torch.tensor([[-2.0], [2.0]])
    >>> evo_norm_b0(x, torch.ones(1), torch.ones(1), training=True, eps=1e-12).round(decimals=4)
    tensor([[-1.],
            [ 1.]])
    """
    check_channels("EvoNormB0", input, None)
    seen = widened(input)
    places = over_positions(seen)
    mean = mean_over(seen, places)
    instance = mean_over(centred(seen, mean).square(), places) if places else torch.zeros_like(mean)
    if training:
        check_several("EvoNormB0", input)
        batch = mean_over(instance + (mean - mean_over(mean, (0,))).square(), (0,))
        count = input.shape[0] * math.prod(input.shape[2:])
        if moves and count:
            unbiased = batch.detach().flatten() * (count / (count - 1))
            aten.track((running_var,), (unbiased,), momentum, num_batches_tracked, num_batches_skipped)
    else:
        batch = per_channel(running_var.double(), input)
    line = per_channel(v.to(seen.dtype), input) * seen + torch.sqrt(instance + eps).to(seen.dtype)
    output = seen / torch.maximum(torch.sqrt(batch + eps).to(seen.dtype), line)
    return finished(output, input, weight, bias)
