"""Batch normalization by statistics that several replicas share, each with a part of the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from normwise.functional._channels import beside_channels, check_channels, check_weights, without_holes
from normwise.functional.finish import check_after, finish
from normwise.functional.moments import moments
from normwise.kernels.aten import Running

Reduce = Callable[[Tensor], Tensor]
"""Sums a float64 vector over the replicas; differentiable: the gradient of each replica's vector is the sum of the
gradients of all results."""


def shared_batch_norm(
    input: Tensor,
    reduce: Reduce,
    running: Running | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *,
    sample_weight: Tensor | None = None,
    residual: Tensor | None = None,
    activation: str = "none",
    dropout: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Normalize each channel by mean and variance over the samples and positions of all replicas.

    ``y = dropout(activation((x − μ) / sqrt(σ² + eps) · weight + bias + residual))``. Each replica gives the float64
    vector ``(n, n·m, M₂ + n·m²)`` of its count, means and sums of squared deviations, once forward; ``μ = Σ n·m / Σ n``
    and ``σ² = Σ (M₂ + n·m²) / Σ n − μ²`` follow from the sum. Once backward a vector of the same length is summed.
    Parts may differ in size, and be empty: an empty one gives zeros, and takes part in both sums.

    Args:
        input: (N, C, *), this replica's part.
        reduce: sums over the replicas.
        running: running statistics, moved by those of the whole batch; None tracks nothing.
        weight: (C,) or None for 1.
        bias: (C,) or None for 0.
        eps: added to the variance, under the root.
        sample_weight: (N, *) or (N,), as in `batch_norm`.
        residual: of the input's shape, added before the activation.
        activation: one of `ACTIVATION_NAMES`.
        dropout: probability of a zero; the rest is scaled up.
        generator: where dropout's seed is drawn; None for torch's default.

    Returns:
        The input's shape, dtype and layout. Sums are float64, the rest float32, float64 for float64 input.

    Raises:
        ArgumentError: (a ValueError) no axis of channels, or a residual or weights of another shape.

    Source: Peng et al. 2018 (MegDet), section 3.3; Chan, Golub & LeVeque 1983 for merged moments.

    >>> halves = torch.tensor([[1.0], [3.0]]), torch.tensor([[5.0], [7.0]])
    >>> vectors = [local_sums(half) for half in halves]
    >>> shared_batch_norm(halves[0], lambda _: vectors[0] + vectors[1], eps=0.0).flatten()
    tensor([-1.3416, -0.4472])
    """
    check_channels("SyncBatchNorm", input, None if weight is None else weight.numel())
    check_after(input, residual, activation)
    if sample_weight is not None:
        sample_weight = check_weights("SyncBatchNorm", input, sample_weight)
        input = without_holes(input, beside_channels(sample_weight, input))
    total = reduce(local_sums(input, sample_weight))
    channels = input.shape[1]
    count, first, second = total[:1], total[1 : 1 + channels], total[1 + channels :]
    # No replica has a value: nothing is normalized, and the statistics stay finite.
    anything = count > 0
    whole = count.clamp_min(torch.finfo(torch.float64).tiny)
    mean = first / whole
    var = (second / whole - mean.square()).clamp_min(0.0)
    if running is not None:
        with torch.no_grad():
            factor = 1.0 if running.biased else count / torch.where(count > 1, count - 1, 1.0)
            running.track(
                torch.where(anything, mean, running.mean), torch.where(anything, var * factor, running.var)
            )
    output = _normalized(input, mean, var, weight, bias, eps)
    return finish(output, residual, activation, dropout, dropout > 0.0, generator=generator)


def _normalized(
    input: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """By given statistics in float64, differentiable in all of them."""
    wide = torch.float64 if input.dtype == torch.float64 else torch.float32
    shape = (-1, *(1,) * (input.dim() - 2))
    # In two parts: rounded to float32, a mean of 1e4 standard deviations is off by a thousandth of one.
    high = mean.to(wide)
    low = (mean - high).to(wide)
    output = (input.to(wide) - high.view(shape)) - low.view(shape)
    output = output * torch.rsqrt(var + eps).to(wide).view(shape)
    if weight is not None:
        output = output * weight.to(wide).view(shape)
    if bias is not None:
        output = output + bias.to(wide).view(shape)
    return output.to(input.dtype)


def local_sums(input: Tensor, sample_weight: Tensor | None = None) -> Tensor:
    """The vector ``(n, n·m, M₂ + n·m²)`` of a part, float64, of length 1 + 2·C; differentiable in the input.

    >>> local_sums(torch.tensor([[1.0], [3.0]]))
    tensor([ 2.,  4., 10.], dtype=torch.float64)
    """
    sums: Tensor = _LocalSums.apply(input, sample_weight)  # type: ignore[no-untyped-call]
    return sums


class _LocalSums(torch.autograd.Function):
    """``Σ w·x`` and ``Σ w·x²``, taken about the mean both ways, so that nothing cancels in float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, part: Tensor | None) -> Tensor:
        if part is not None:
            part = part.view(x.shape[0], *x.shape[2:])
        found = moments(x, part)
        ctx.save_for_backward(x, part, found.mean)
        whole = found.count * found.mean
        sums = torch.cat([found.count.reshape(1), whole, found.squares + whole * found.mean])
        # A part without values has no mean: its sums are zero.
        return sums.nan_to_num() if x.numel() == 0 else sums

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, None]:
        (gradient,) = cotangents
        x, part, mean = ctx.saved_tensors
        if x.numel() == 0:
            return torch.zeros_like(x), None
        channels = x.shape[1]
        first, second = gradient[1 : 1 + channels], gradient[1 + channels :]
        wide = torch.float64 if x.dtype == torch.float64 else torch.float32
        shape = (-1, *(1,) * (x.dim() - 2))
        # dx = first + 2 · x · second, with x = mean + (x − mean): the large parts meet in float64.
        high = mean.to(wide)
        constant = first + 2 * high.to(torch.float64) * second
        around = x.to(wide) - high.view(shape)
        dx = constant.to(wide).view(shape) + around * (2 * second).to(wide).view(shape)
        if part is not None:
            part = part.to(wide).unsqueeze(1)
            dx = dx * part
        return dx.to(x.dtype), None
