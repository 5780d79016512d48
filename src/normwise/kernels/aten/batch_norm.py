"""Batch normalization through `torch.batch_norm`."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import batch_norm as functional_batch_norm

from normwise.kernels.aten.tracking import track
from normwise.kernels.cpu.glance import hold, settle
from normwise.kernels.gate import is_plain_cpu

_NARROW = (torch.bfloat16, torch.float16)


class Running(NamedTuple):
    """Running statistics, read in evaluation and moved in training.

    Attributes:
        mean: (C,), or (K, C) for stacked models.
        var: of the same shape.
        momentum: weight of a batch; None counts all batches alike.
        batches: a counter, or None.
        skipped: a counter of batches that were not finite, or None.
        biased: the variance is the batch's biased one.
    """

    mean: Tensor
    var: Tensor
    momentum: float | Tensor | None = 0.1
    batches: Tensor | None = None
    skipped: Tensor | None = None
    biased: bool = False

    def track(self, mean: Tensor, var: Tensor, *, stacked: bool = False) -> None:
        """Take in a batch's mean and its variance, of the kind that is kept."""
        moved, batch = (self.mean, self.var), (mean, var)
        track(moved, batch, self.momentum, self.batches, self.skipped, stacked=stacked)


def batch_norm(
    input: Tensor,
    mean: Tensor | None,
    var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float | Tensor | None,
    eps: float,
    batches: Tensor | None,
    skipped: Tensor | None,
    biased: bool,
    compiled: bool,
) -> Tensor:
    """Normalize by the batch's statistics or the running ones, and move those; see `normwise.functional.batch_norm`."""
    by_torch = functional_batch_norm if compiled else _by_torch
    if mean is None or var is None:
        return by_torch(input, None, None, weight, bias, training, 0.0, eps)
    if training and not (biased or compiled) and is_plain_cpu(input) and not isinstance(momentum, Tensor):
        output = _moved_by_torch(input, mean, var, weight, bias, momentum, eps, batches)
        if output is not None:
            return output
    if input.dtype is not mean.dtype:
        weight, bias = _beside(input, mean, weight, bias)
    if not training:
        return by_torch(input, mean, var, weight, bias, False, 0.0, eps)
    if input.numel() == 0:  # no values: torch leaves the statistics as they are
        if batches is not None:
            batches.add_(1)
        return by_torch(input, mean, var, weight, bias, True, 0.0, eps)
    # torch.batch_norm takes its momentum as a Python number and asks nothing of the batch: with momentum 1 it leaves
    # the batch's own statistics where they can be looked at.
    now, spread = mean.new_zeros(mean.shape), var.new_zeros(var.shape)
    output = by_torch(input, now, spread, weight, bias, True, 1.0, eps)
    if biased:
        spread = _biased(spread, input)
    track((mean, var), (now, spread), momentum, batches, skipped, stacked=False)
    return output


def _by_torch(
    input: Tensor,
    mean: Tensor | None,
    var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """As `torch.nn.functional.batch_norm`, without its questions."""
    cudnn = torch.backends.cudnn.enabled
    return torch.batch_norm(input, weight, bias, mean, var, training, momentum, eps, cudnn)


def _biased(unbiased: Tensor, input: Tensor) -> Tensor:
    """The biased variance, of channels on axis 1."""
    count = input.numel() // input.shape[1]
    return unbiased * ((count - 1) / count)


def _beside(
    input: Tensor, mean: Tensor, weight: Tensor | None, bias: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """Weight and bias in the dtype of float32 statistics, where the input is narrow: torch takes one dtype for all."""
    if input.dtype not in _NARROW or mean.dtype in _NARROW:
        return weight, bias
    return (None if weight is None else weight.to(mean.dtype)), (
        None if bias is None else bias.to(mean.dtype)
    )


def _moved_by_torch(
    input: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float | None,
    eps: float,
    batches: Tensor | None,
) -> Tensor | None:
    """Let torch move the statistics, where they may be looked at; None where they may not, or are not finite.

    That is half a dozen small operators less than `track` needs, which a small layer would notice.
    """
    held = hold(mean, var, batches)
    if held is None and not is_plain_cpu(mean, var):
        return None
    if input.dtype is not mean.dtype:
        weight, bias = _beside(input, mean, weight, bias)
    if momentum is None:
        momentum = 0.0 if batches is None else 1.0 / (int(batches) + 1)
    before = torch.cat((mean, var)) if held is None else None
    output = torch.batch_norm(input, weight, bias, mean, var, True, momentum, eps, False)
    if before is None:
        return output if settle(held, batches) else None
    # One operator that sees every value: NaN and infinity show in the product, whatever they meet.
    if math.isfinite(torch.dot(mean, var).item()):
        if batches is not None:
            batches.add_(1)
        return output
    with torch.no_grad():
        mean.copy_(before[: len(mean)])
        var.copy_(before[len(mean) :])
    return None


def batch_norm_stacked(
    input: Tensor,
    running: Running | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    eps: float,
) -> Tensor:
    """The same of K models: (K, N, C, *) as K · C channels of one batch."""
    models, samples, channels = input.shape[:3]
    wide = input.movedim(0, 1).reshape(samples, models * channels, *input.shape[3:])
    gain, shift = (None if t is None else t.view(-1) for t in (weight, bias))
    if running is None:
        output = _by_torch(wide, None, None, gain, shift, training, 0.0, eps)
    else:
        gain, shift = _beside(input, running.mean, gain, shift)
        if training:
            mean, var = torch.zeros_like(running.mean), torch.zeros_like(running.var)
            output = _by_torch(wide, mean.view(-1), var.view(-1), gain, shift, True, 1.0, eps)
            kept = _biased(var, wide) if running.biased else var
            running.track(mean, kept, stacked=True)
        else:
            mean, var = running.mean.view(-1), running.var.view(-1)
            output = _by_torch(wide, mean, var, gain, shift, False, 0.0, eps)
    return output.view(samples, models, channels, *input.shape[3:]).movedim(1, 0).contiguous()


def batch_norm_weighted(
    input: Tensor,
    running: Running | None,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    sample_weight: Tensor,
) -> Tensor:
    """The same by the batch's statistics, with a weight for each sample and position; (N, S), float32."""
    wide = torch.float64 if input.dtype == torch.float64 else torch.float32
    seen = input.to(wide).flatten(2) if input.dim() > 2 else input.to(wide).unsqueeze(2)
    part = sample_weight.to(wide).unsqueeze(1)
    total = part.sum(dtype=torch.float64)
    # Where all weights are zero there is nothing to normalize by: the mean 0 and the variance 0 are finite.
    safe = total.clamp_min(torch.finfo(wide).tiny)
    # An element of weight 0 takes no part, whatever it is: NaN in padding times 0 would be NaN.
    counted = seen.masked_fill(part == 0, 0.0)
    mean = (counted * part).sum((0, 2), keepdim=True, dtype=torch.float64) / safe
    # The mean in two parts: rounded to float32 it is off by 1e-3 standard deviations where it is 1e4 of them.
    high = mean.to(wide)
    low = (mean - high).to(wide)
    squares = ((counted - high - low).square() * part).sum((0, 2), keepdim=True, dtype=torch.float64)
    var = squares / safe
    if running is not None:
        with torch.no_grad():
            kept = var if running.biased else squares / torch.where(total > 1, total - 1, 1.0)
            anything = total > 0
            running.track(
                torch.where(anything, mean.flatten(), running.mean),
                torch.where(anything, kept.flatten(), running.var),
            )
    output = (seen - high - low) * torch.rsqrt(var + eps).to(wide)
    shape = (1, -1, 1)
    if weight is not None:
        output = output * weight.to(wide).reshape(shape)
    if bias is not None:
        output = output + bias.to(wide).reshape(shape)
    return output.reshape(input.shape).to(input.dtype)
