"""Batch normalization through `torch.batch_norm`."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

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

    def kept(self, unbiased: Tensor, count: int) -> Tensor:
        """The variance that is kept, of `count` values a channel."""
        return unbiased * ((count - 1) / count) if self.biased else unbiased


def batch_norm(
    input: Tensor,
    running: Running | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    eps: float,
    *,
    sample_weight: Tensor | None = None,
    stacked: bool = False,
) -> Tensor:
    """Normalize by the batch's statistics or the running ones, and move those; see `normwise.functional.batch_norm`."""
    if stacked:
        return _stacked(input, running, weight, bias, training, eps)
    if sample_weight is not None:
        return _weighted(input, running, weight, bias, eps, sample_weight)
    if running is None:
        return _by_torch(input, weight, bias, None, None, training, 0.0, eps)
    weight, bias = _beside(input, running.mean, weight, bias)
    if not training:
        return _by_torch(input, weight, bias, running.mean, running.var, False, 0.0, eps)
    if input.numel() == 0:  # no values: torch leaves the statistics as they are
        if running.batches is not None:
            running.batches.add_(1)
        return _by_torch(input, weight, bias, running.mean, running.var, True, 0.0, eps)
    # torch.batch_norm takes its momentum as a Python number and asks nothing of the batch: with momentum 1 it leaves
    # the batch's own statistics where they can be looked at.
    mean, var = torch.zeros_like(running.mean), torch.zeros_like(running.var)
    output = _by_torch(input, weight, bias, mean, var, True, 1.0, eps)
    running.track(mean, running.kept(var, input.numel() // input.shape[1]))
    return output


def _by_torch(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    cudnn = torch.backends.cudnn.enabled
    return torch.batch_norm(input, weight, bias, mean, var, training, momentum, eps, cudnn)


def _beside(
    input: Tensor, mean: Tensor, weight: Tensor | None, bias: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """Weight and bias in the dtype of float32 statistics, where the input is narrow: torch takes one dtype for all."""
    if input.dtype not in _NARROW or mean.dtype in _NARROW:
        return weight, bias
    return (None if weight is None else weight.to(mean.dtype)), (
        None if bias is None else bias.to(mean.dtype)
    )


def batch_norm_moved_by_torch(
    input: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float | Tensor | None,
    eps: float,
    batches: Tensor | None,
) -> Tensor | None:
    """Let torch move the statistics, where they may be looked at; None where they may not, or are not finite.

    That is half a dozen small operators less than `Running.track` needs, which a small layer would notice. What is None
    here `batch_norm` does.
    """
    if not is_plain_cpu(input) or isinstance(momentum, Tensor):
        return None
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


def _stacked(
    input: Tensor,
    running: Running | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    eps: float,
) -> Tensor:
    """(K, N, C, *) as K · C channels of one batch."""
    models, samples, channels = input.shape[:3]
    wide = input.movedim(0, 1).reshape(samples, models * channels, *input.shape[3:])
    gain, shift = (None if t is None else t.view(-1) for t in (weight, bias))
    if running is None or not training:
        flat = None if running is None else Running(running.mean.view(-1), running.var.view(-1))
        output = batch_norm(wide, flat, gain, shift, training, eps)
    else:
        mean, var = torch.zeros_like(running.mean), torch.zeros_like(running.var)
        gain, shift = _beside(input, mean, gain, shift)
        output = _by_torch(wide, gain, shift, mean.view(-1), var.view(-1), True, 1.0, eps)
        running.track(mean, running.kept(var, wide.numel() // wide.shape[1]), stacked=True)
    return output.view(samples, models, channels, *input.shape[3:]).movedim(1, 0).contiguous()


def _weighted(
    input: Tensor,
    running: Running | None,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    sample_weight: Tensor,
) -> Tensor:
    """The batch's statistics with a weight for each sample and position; (N, S), float32."""
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
