"""Batch normalization with statistics of each domain, where a batch mixes samples of several.

Index convention: a batch has N samples of C channels; there are D domains.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from normwise.functional._across import centred, laid_out, per_channel
from normwise.functional._wide import widened
from normwise.kernels.aten import Running


def domain_batch_norm(
    input: Tensor,
    domain: Tensor,
    running: Running,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    eps: float = 1e-5,
    *,
    moves: bool = True,
) -> Tensor:
    """Normalize each sample by the mean and the biased variance of its domain's samples in the batch.

    ``y = (x − μ_d) / sqrt(σ²_d + eps) · weight_d + bias_d`` for a sample of domain d; otherwise than in training, and
    for a domain of which the batch has one value per channel, μ_d and σ²_d are the running ones. Each domain's running
    statistics move as if it were alone; those of a domain that is absent, has one value, or has one that is not finite
    stay. Nothing looks at the values of `domain` by Python.

    Args:
        input: (N, C, *).
        domain: (N,), integers from 0 to D − 1.
        running: running statistics (D, C), with counters (D,).
        weight: (D, C) or None for 1.
        bias: (D, C) or None for 0.
        training: use the batch's statistics.
        eps: added to the variance, under the root.
        moves: move the running statistics in training.

    Returns:
        The input's shape, dtype and layout. Sums are float64, the rest float32, float64 for float64 input.

    >>> two = Running(torch.zeros(2, 1), torch.ones(2, 1))
    >>> values = torch.tensor([[0.0], [10.0], [2.0], [30.0]])
    >>> domain_batch_norm(values, torch.tensor([0, 1, 0, 1]), two, training=True, eps=1e-12).flatten()
    tensor([-1., -1.,  1.,  1.])
    """
    seen, domain = widened(input), domain.long()
    mean, var = running.mean.double(), running.var.double()
    if training:
        mean, var = _by_batch(seen, domain, running, moves)

    def of_sample(values: Tensor) -> Tensor:
        return per_channel(values.index_select(0, domain), input)

    output = centred(seen, of_sample(mean)) * of_sample(torch.rsqrt(var + eps).to(seen.dtype))
    if weight is not None:
        output = output * of_sample(weight.to(seen.dtype))
    if bias is not None:
        output = output + of_sample(bias.to(seen.dtype))
    return laid_out(output.to(input.dtype), input)


def _by_batch(seen: Tensor, domain: Tensor, running: Running, moves: bool) -> tuple[Tensor, Tensor]:
    """Mean and variance (D, C) that normalize; the running ones take their part in them."""

    def summed(values: Tensor) -> Tensor:
        # Row by row and not as a product with a table of ones: 0 · NaN of another domain would be NaN.
        sums = values.flatten(2).sum(2, dtype=torch.float64) if values.dim() > 2 else values.double()
        return torch.zeros_like(running.mean, dtype=torch.float64).index_add(0, domain, sums)

    positions = torch.full_like(domain, math.prod(seen.shape[2:]), dtype=torch.float64)
    count = torch.zeros_like(running.mean[:, 0], dtype=torch.float64).index_add(0, domain, positions)[:, None]
    mean = summed(seen) / count.clamp_min(1.0)
    squares = summed(centred(seen, per_channel(mean.index_select(0, domain), seen)).square())
    var = squares / count.clamp_min(1.0)
    several = count > 1
    if moves:
        kept = var.detach() if running.biased else squares.detach() / (count - 1).clamp_min(1.0)
        _track(running, mean.detach(), kept, several[:, 0])
    return torch.where(several, mean, running.mean.double()), torch.where(several, var, running.var.double())


@torch.no_grad()
def _track(running: Running, mean: Tensor, var: Tensor, several: Tensor) -> None:
    """Move the statistics of the domains with several values, and count for each, as `aten.track` does for one."""
    finite = (mean.isfinite() & var.isfinite()).all(1)
    counted = finite & several
    if running.batches is not None:
        running.batches.add_(counted)
    if running.skipped is not None:
        running.skipped.add_(several & ~finite)
    step: float | Tensor | None = running.momentum
    if step is None:
        # Without a counter there is no telling how much a batch counts.
        step = 0.0 if running.batches is None else running.batches.clamp_min(1).double().reciprocal()[:, None]
    for old, new in ((running.mean, mean), (running.var, var)):
        moved = torch.lerp(old, new.to(old.dtype), step.to(old.dtype) if isinstance(step, Tensor) else step)
        old.copy_(torch.where(counted[:, None], moved, old))
