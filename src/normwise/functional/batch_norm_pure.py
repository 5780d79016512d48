"""Batch normalization as a pure function: the new statistics are a result, and nothing is changed in place."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from normwise.errors import ArgumentError, explain
from normwise.functional._channels import beside_channels, check_channels, check_weights, without_holes
from normwise.functional.finish import check_after, finish


class Statistics(NamedTuple):
    """Running statistics as values.

    Attributes:
        mean: (C,), float32 or float64.
        var: (C,).
        batches: how many batches were taken in; no dimensions.
        skipped: how many were not finite; no dimensions.
    """

    mean: Tensor
    var: Tensor
    batches: Tensor
    skipped: Tensor

    @classmethod
    def initial(cls, num_features: int, *, device: torch.device | None = None) -> Statistics:
        """A mean of zero, a variance of one, and no batches.

        >>> Statistics.initial(2).var
        tensor([1., 1.])
        """
        zero = torch.zeros((), dtype=torch.long, device=device)
        mean = torch.zeros(num_features, device=device)
        return cls(mean, torch.ones_like(mean), zero, zero.clone())


def batch_norm_pure(
    input: Tensor,
    statistics: Statistics | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = True,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    *,
    biased_running_var: bool = False,
    sample_weight: Tensor | None = None,
    residual: Tensor | None = None,
    activation: str = "none",
) -> tuple[Tensor, Statistics | None]:
    """Normalize as `batch_norm` does, and give the moved statistics beside the output.

    It is made of plain operators without a branch on values: `torch.func.vmap`, `grad` and `jvp` go through it in any
    order, in training too, where a layer's buffers cannot move under a map. No kernel of normwise runs.

    Args:
        input: (N, C, *).
        statistics: read in evaluation; None moves nothing.
        weight: (C,) or None for 1.
        bias: (C,) or None for 0.
        training: use the batch's statistics.
        momentum: weight of the new batch; None counts all batches alike.
        eps: added to the variance, under the root.
        biased_running_var: the running variance takes the biased variance.
        sample_weight: (N, *) or (N,), as in `batch_norm`.
        residual: of the input's shape, added before the activation.
        activation: one of `ACTIVATION_NAMES`.

    Returns:
        The output, in the input's shape and dtype, and the new statistics (the given ones in evaluation). A batch that
        is not finite leaves mean and variance as they were and is counted in `skipped`. The new ones have no gradient.

    Raises:
        ArgumentError: (a ValueError) no axis of channels, no statistics in evaluation, a residual or weights of another
            shape.

    Source: Ioffe & Szegedy 2015, algorithms 1 and 2.

    >>> x = torch.tensor([[[1.0], [3.0]], [[5.0], [9.0]]])
    >>> state = Statistics.initial(1)
    >>> y, new = torch.func.vmap(lambda batch: batch_norm_pure(batch, state))(x)
    >>> new.mean.flatten().round(decimals=2)
    tensor([0.2000, 0.7000])
    """
    check_channels("batch_norm_pure", input, None if weight is None else weight.numel())
    check_after(input, residual, activation)
    part = None
    if sample_weight is not None and training:
        part = beside_channels(check_weights("batch_norm_pure", input, sample_weight), input)
        input = without_holes(input, part)
    shape = (1, -1, *(1,) * (input.dim() - 2))
    wide = torch.float64 if input.dtype == torch.float64 else torch.float32
    seen = input.to(wide)
    if training:
        centred, mean, squares, count = _batch(seen, None if part is None else part.to(wide))
        var = squares / count.clamp_min(torch.finfo(wide).tiny)
        new = _moved(statistics, mean, squares, count, momentum, biased_running_var)
    elif statistics is None:
        raise ArgumentError(
            explain(
                "batch_norm_pure", "evaluation needs `statistics`", "None", "give those that training gave"
            )
        )
    else:
        centred = seen - statistics.mean.to(wide).view(shape)
        var, new = statistics.var.to(wide), statistics
    output = centred * torch.rsqrt(var + eps).view(shape)
    if weight is not None:
        output = output * weight.to(wide).view(shape)
    if bias is not None:
        output = output + bias.to(wide).view(shape)
    return finish(output.to(input.dtype), residual, activation), new


def _batch(x: Tensor, part: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Deviations from the mean, the mean, the sum of their squares, and the count.

    The mean is taken twice: the second time of the deviations from the first, so that a mean of 1e4 standard deviations
    leaves no error in them.
    """
    axes = (0, *range(2, x.dim()))
    shape = (1, -1, *(1,) * (x.dim() - 2))
    if part is None:
        count = x.new_tensor(float(x.numel() // max(x.shape[1], 1)))
        first = _mean(x, None, axes, count)
    else:
        count = part.sum()
        first = _mean(x.masked_fill(part == 0, 0.0), part, axes, count)
    rough = x - first.view(shape)
    counted = rough if part is None else rough.masked_fill(part == 0, 0.0)
    second = _mean(counted, part, axes, count)
    centred = rough - second.view(shape)
    counted = centred if part is None else centred.masked_fill(part == 0, 0.0) * part.sqrt()
    return centred, first + second, counted.square().sum(axes), count


def _mean(x: Tensor, part: Tensor | None, axes: tuple[int, ...], count: Tensor) -> Tensor:
    weighted = x if part is None else x * part
    return weighted.sum(axes) / count.clamp_min(torch.finfo(x.dtype).tiny)


def _moved(
    old: Statistics | None, mean: Tensor, squares: Tensor, count: Tensor, momentum: float | None, biased: bool
) -> Statistics | None:
    if old is None:
        return None
    mean, squares, count = mean.detach(), squares.detach(), count.detach()
    less = 0.0 if biased else 1.0
    var = squares / torch.where(count > less, count - less, 1.0)
    finite = (mean.isfinite() & var.isfinite()).all()
    batches, skipped = old.batches + finite, old.skipped + finite.logical_not()
    step = batches.clamp_min(1).to(mean.dtype).reciprocal() if momentum is None else momentum
    moves = finite & (count > 0)

    def towards(before: Tensor, now: Tensor) -> Tensor:
        return torch.where(moves, before + step * (now.to(before.dtype) - before), before)

    return Statistics(towards(old.mean, mean), towards(old.var, var), batches, skipped)
