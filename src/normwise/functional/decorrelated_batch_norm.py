"""Batch normalization that also decorrelates channels: whitening by Newton's iteration.

Index convention: C channels fall into G groups of D neighbours; m is the number of samples and positions, N·S.
"""

from __future__ import annotations

import contextlib
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
from normwise.kernels import aten


def decorrelated_batch_norm(
    input: Tensor,
    running_mean: Tensor,
    running_whitening: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    *,
    iterations: int = 5,
    num_batches_tracked: Tensor | None = None,
    num_batches_skipped: Tensor | None = None,
    moves: bool = True,
) -> Tensor:
    """Whiten each group of channels: ``y = W (x − μ) · weight + bias`` with ``W ≈ (X_c X_cᵀ / m + eps · I)^(−1/2)``.

    In training μ and W are the batch's (`inverse_root`), and the running ones move towards them; otherwise they are the
    running ones. Where any of them is not finite, none moves.

    Args:
        input: (N, C, *).
        running_mean: (C,), changed in place in training.
        running_whitening: (G, D, D) with G · D = C, changed in place in training; its shape tells the groups.
        weight: (C,) or None for 1.
        bias: (C,) or None for 0.
        training: use the batch's statistics.
        momentum: weight of the new batch; None counts all batches alike, by `num_batches_tracked`.
        eps: added to the covariance's diagonal.
        iterations: of Newton's method.
        num_batches_tracked: a counter without dimensions.
        num_batches_skipped: a counter without dimensions, of batches that were not finite.
        moves: move the running statistics in training.

    Returns:
        The input's shape, dtype and layout. Statistics are float64, the rest float32, float64 for float64 input.

    Raises:
        ArgumentError: (a ValueError) groups that do not make up the channels, or one value per channel in training.

    Source: Huang et al. 2018 (decorrelated batch normalization); Huang et al. 2019 (IterNorm), algorithm 1, which
    tracks the whitening matrix, too.

    >>> x = torch.tensor([[1.0, 1.0], [-1.0, -1.0], [2.0, -2.0], [-2.0, 2.0]])
    >>> y = decorrelated_batch_norm(x, torch.zeros(2), torch.eye(2)[None], training=True, iterations=9)
    >>> (y.T @ y / 4).round(decimals=3).abs()
    tensor([[1., 0.],
            [0., 1.]])
    """
    check_channels("DecorrelatedBatchNorm", input, None)
    groups, size = running_whitening.shape[:2]
    if groups * size != input.shape[1]:
        raise ArgumentError(
            explain(
                "DecorrelatedBatchNorm",
                "the whitening matrices must be (G, D, D) with G · D channels",
                f"shape {tuple(running_whitening.shape)} and {input.shape[1]} channels",
            )
        )
    seen = widened(input)
    if training:
        check_several("DecorrelatedBatchNorm", input)
        mean = mean_over(seen, (0, *over_positions(seen)))
        columns = _grouped(centred(seen, mean), groups)
        matrix = inverse_root(_covariance(columns, eps), iterations)
        if moves and input.numel():
            running = (running_mean, running_whitening)
            _track(running, (mean.flatten(), matrix), momentum, num_batches_tracked, num_batches_skipped)
    else:
        columns = _grouped(centred(seen, per_channel(running_mean.double(), input)), groups)
        matrix = running_whitening
    with _exactly(input):
        white = matrix.to(seen.dtype) @ columns
    last = white.reshape(input.shape[1], input.shape[0], *input.shape[2:]).transpose(0, 1)
    return finished(last, input, weight, bias)


def inverse_root(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Newton's iteration towards ``Σ^(−1/2)``: ``P ← (3 P − P³ Σ / tr Σ) / 2`` from I; then ``P / sqrt(tr Σ)``.

    An eigenvalue λ of Σ gets 1 / sqrt(λ) the more nearly, the larger its part of the trace is; small ones are raised
    less, which is why few iterations are gentler than exact whitening.

    Args:
        matrices: (G, D, D), positive definite.
        iterations: how many; 0 scales by the trace alone.

    >>> inverse_root(torch.diag(torch.tensor([1.0, 4.0]))[None], iterations=20).round(decimals=4)
    tensor([[[1.0000, 0.0000],
             [0.0000, 0.5000]]])
    """
    trace = matrices.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    scaled = matrices / trace
    identity = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device).expand_as(matrices)
    root, square = identity, scaled
    for _ in range(iterations):
        # P and P·Σ side by side: the same iterates as with P³·Σ, whose rounding errors grow with each of them until it
        # overflows, after some twenty iterations (Higham 2008, section 6.4).
        step = 1.5 * identity - 0.5 * (root @ square)
        root, square = step @ root, square @ step
    return root * torch.rsqrt(trace)


def _grouped(values: Tensor, groups: int) -> Tensor:
    """(N, C, *) as (G, D, m): the channels of a group in rows, all samples and positions behind one another."""
    return values.transpose(0, 1).reshape(groups, values.shape[1] // groups, -1)


def _covariance(columns: Tensor, eps: float) -> Tensor:
    """``X Xᵀ / m + eps · I`` in float64."""
    with _exactly(columns):
        products = columns @ columns.mT
    identity = torch.eye(columns.shape[1], dtype=torch.float64, device=columns.device)
    return products.double() / max(columns.shape[2], 1) + eps * identity


def _exactly(values: Tensor) -> contextlib.AbstractContextManager[object]:
    """Without autocast, which would take products in 16 bits."""
    device = values.device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return contextlib.nullcontext()
    return torch.autocast(device, enabled=False)


@torch.no_grad()
def _track(
    running: tuple[Tensor, Tensor],
    batch: tuple[Tensor, Tensor],
    momentum: float | None,
    batches: Tensor | None,
    skipped: Tensor | None,
) -> None:
    """Move mean and matrix, or neither: they are of two shapes, so that each learns of the other by NaN."""
    finite = torch.stack([values.isfinite().all() for values in batch]).all()
    mean, matrix = (torch.where(finite, values.detach(), math.nan) for values in batch)
    aten.track(running[:1], (mean,), momentum, batches, skipped)
    step: float | Tensor | None = momentum
    if step is None and batches is not None:
        step = batches.clamp_min(1).double().reciprocal()
    aten.track(running[1:], (matrix,), step)
