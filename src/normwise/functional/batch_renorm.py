"""The corrections of batch renormalization."""

from __future__ import annotations

import torch
from torch import Tensor

from normwise.functional.moments import moments


def renorm_bound(step: Tensor, first: float, last: float, begin: int, end: int) -> Tensor:
    """A bound that is `first` up to the step `begin`, then goes linearly to `last`, where it is from the step `end` on.

    Args:
        step: without dimensions; nothing reads it by Python.
        first: the value up to `begin`.
        last: the value from `end` on, not below `first`; it is never passed.
        begin: a step.
        end: a step, not before `begin`.

    Returns:
        float64, without dimensions.

    >>> [renorm_bound(torch.tensor(step), 1.0, 3.0, 10, 20).item() for step in (0, 10, 15, 20, 99)]
    [1.0, 1.0, 2.0, 3.0, 3.0]
    """
    part = torch.where(step >= end, 1.0, (step - begin).double() / max(end - begin, 1)).clamp(0.0, 1.0)
    return (first + (last - first) * part).clamp(first, last)


def renorm_correction(
    input: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    r_bound: Tensor,
    d_bound: Tensor,
    eps: float = 1e-5,
    sample_weight: Tensor | None = None,
) -> Tensor:
    """What brings a batch's normalization near that of evaluation: ``x̂ · r + d`` in the place of x̂.

    ``r = clip(σ_B / σ, 1 / r_bound, r_bound)`` and ``d = clip((μ_B − μ) / σ, −d_bound, d_bound)`` with
    ``σ_B = sqrt(σ²_B + eps)``, the batch's biased variance, and ``σ = sqrt(running_var + eps)``. Where neither is
    clipped, ``x̂ · r + d = (x − μ) / σ``. Nothing is differentiable here.

    Args:
        input: (N, C, *).
        running_mean: (C,), as it is before the batch moves it.
        running_var: (C,), likewise.
        r_bound: without dimensions, 1 or more.
        d_bound: without dimensions, 0 or more.
        eps: added to both variances, under the root.
        sample_weight: (N, *) or (N,), the part of an element in the batch's statistics.

    Returns:
        (2, C), r above d, in the running statistics' dtype.

    Source: Ioffe 2017, algorithm 1.

    >>> far = torch.tensor([[5.0], [9.0]])
    >>> bounds = torch.tensor(1.5), torch.tensor(10.0)
    >>> renorm_correction(far, torch.zeros(1), torch.ones(1), *bounds).round(decimals=3)
    tensor([[1.5000],
            [7.0000]])
    """
    # `detach` takes forward-mode tangents away, too, which `no_grad` does not.
    batch = moments(input.detach(), sample_weight)
    var = batch.squares / batch.count.clamp_min(1e-300)
    sigma = torch.sqrt(running_var.double() + eps)
    r = (torch.sqrt(var + eps) / sigma).clamp(r_bound.reciprocal(), r_bound)
    d = ((batch.mean - running_mean.double()) / sigma).clamp(-d_bound, d_bound)
    return torch.stack([r, d]).to(running_mean.dtype)
