"""Batch normalization that subtracts the mean and does not scale."""

from __future__ import annotations

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
from normwise.functional._channels import check_channels, check_weights
from normwise.functional._wide import widened
from normwise.kernels import aten


def mean_only_batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | Tensor | None = 0.1,
    *,
    num_batches_tracked: Tensor | None = None,
    num_batches_skipped: Tensor | None = None,
    sample_weight: Tensor | None = None,
) -> Tensor:
    """Subtract each channel's mean over samples and positions: ``y = x − μ + bias``.

    In training μ is the batch's, and the running mean moves by ``running ← (1 − momentum) · running + momentum · μ``,
    unless μ is not finite; otherwise it is the running one.

    Args:
        input: (N, C, *).
        running_mean: (C,), changed in place in training; None tracks nothing.
        bias: (C,) or None for 0.
        training: use the batch's mean.
        momentum: weight of the new batch; None counts all batches alike, by `num_batches_tracked`.
        num_batches_tracked: a counter without dimensions.
        num_batches_skipped: a counter without dimensions, of batches that were not finite.
        sample_weight: (N, *) or (N,), the part of an element in the mean; 0 leaves it out.

    Returns:
        The input's shape, dtype and layout. The sum is float64, the rest float32, float64 for float64 input.

    Raises:
        ArgumentError: (a ValueError) one value per channel in training, weights of another shape, or no running mean
            where it is needed.

    Source: Salimans & Kingma 2016, section 4.

    >>> mean_only_batch_norm(torch.tensor([[1.0], [3.0]]), None, training=True)
    tensor([[-1.],
            [ 1.]])
    """
    check_channels("MeanOnlyBatchNorm", input, None)
    seen = widened(input)
    if training:
        check_several("MeanOnlyBatchNorm", input)
        mean, anything = _mean(seen, sample_weight)
        if running_mean is not None and input.numel():
            batch = torch.where(anything, mean.detach().flatten(), running_mean)
            aten.track((running_mean,), (batch,), momentum, num_batches_tracked, num_batches_skipped)
    elif running_mean is None:
        raise ArgumentError(
            explain("MeanOnlyBatchNorm", "a running mean is needed outside of training", "None")
        )
    else:
        mean = per_channel(running_mean.double(), input)
    return finished(centred(seen, mean), input, None, bias)


def _mean(seen: Tensor, sample_weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """The mean (1, C, 1, …) in float64, and whether any element has a part in it."""
    if sample_weight is None:
        return mean_over(seen, (0, *over_positions(seen))), torch.ones(
            (), dtype=torch.bool, device=seen.device
        )
    part = check_weights("MeanOnlyBatchNorm", seen, sample_weight).to(seen.dtype)
    part = part.reshape(seen.shape[0], 1, *seen.shape[2:])
    total = part.sum(dtype=torch.float64)
    # NaN in padding times a weight of zero would be NaN.
    sums = (seen.masked_fill(part == 0, 0.0) * part).sum(
        (0, *over_positions(seen)), True, dtype=torch.float64
    )
    return sums / total.clamp_min(torch.finfo(torch.float32).tiny), total > 0
