"""Batch normalization through `torch.batch_norm`."""

from __future__ import annotations

import torch
from torch import Tensor


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float | Tensor,
    eps: float,
    *,
    sample_weight: Tensor | None = None,
    stacked: bool = False,
) -> Tensor:
    """Normalize by the batch's statistics or the running ones; see `normwise.functional.batch_norm`."""
    if stacked:
        return _stacked(input, running_mean, running_var, weight, bias, training, momentum, eps)
    if sample_weight is not None:
        return _weighted(input, running_mean, running_var, weight, bias, momentum, eps, sample_weight)
    cudnn = torch.backends.cudnn.enabled
    if not isinstance(momentum, Tensor):
        return torch.batch_norm(
            input, weight, bias, running_mean, running_var, training, momentum, eps, cudnn
        )
    if not training or running_mean is None or running_var is None:
        return torch.batch_norm(input, weight, bias, running_mean, running_var, training, 0.0, eps, cudnn)
    # torch.batch_norm takes its momentum as a Python number: reading one from a tensor would synchronise with
    # the device and break a compiled graph. With momentum 1 it leaves the batch's own statistics in copies
    # instead. An empty batch leaves the copies as they are, and then the interpolation changes nothing.
    mean, var = running_mean.clone(), running_var.clone()
    output = torch.batch_norm(input, weight, bias, mean, var, True, 1.0, eps, cudnn)
    running_mean.lerp_(mean, momentum.to(mean.dtype))
    running_var.lerp_(var, momentum.to(var.dtype))
    return output


def _stacked(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float | Tensor,
    eps: float,
) -> Tensor:
    """(K, N, C, *) as K · C channels of one batch."""
    models, samples, channels = input.shape[:3]
    wide = input.movedim(0, 1).reshape(samples, models * channels, *input.shape[3:])
    mean, var, gain, shift = (
        None if t is None else t.view(-1) for t in (running_mean, running_var, weight, bias)
    )
    output = batch_norm(wide, mean, var, gain, shift, training, momentum, eps)
    return output.view(samples, models, channels, *input.shape[3:]).movedim(1, 0).contiguous()


def _weighted(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float | Tensor,
    eps: float,
    sample_weight: Tensor,
) -> Tensor:
    """The batch's statistics with a weight for each sample and position; (N, S), float32."""
    wide = torch.float64 if input.dtype == torch.float64 else torch.float32
    seen = input.to(wide).flatten(2) if input.dim() > 2 else input.to(wide).unsqueeze(2)
    part = sample_weight.to(wide).unsqueeze(1)
    total = part.sum()
    # Where all weights are zero there is nothing to normalize by: the mean 0 and the variance 0 are finite.
    share = part / total.clamp_min(torch.finfo(wide).tiny)
    # An element of weight 0 takes no part, whatever it is: NaN in padding times 0 would be NaN.
    counted = seen.masked_fill(part == 0, 0.0)
    mean = (counted * share).sum((0, 2), keepdim=True)
    var = ((counted - mean).square() * share).sum((0, 2), keepdim=True)
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            unbiased = (var * total / (total - 1).clamp_min(1)).flatten().to(running_var.dtype)
            seen_any = (total > 0).to(running_mean.dtype)
            running_mean.lerp_(mean.flatten().to(running_mean.dtype), momentum * seen_any)
            running_var.lerp_(unbiased, momentum * seen_any)
    output = (seen - mean) * torch.rsqrt(var + eps)
    shape = (1, -1, 1)
    if weight is not None:
        output = output * weight.to(wide).reshape(shape)
    if bias is not None:
        output = output + bias.to(wide).reshape(shape)
    return output.reshape(input.shape).to(input.dtype)
