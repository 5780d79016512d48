"""Running statistics in torch's operators: a batch's go into them whole or, where one is not finite, not at all."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def track(
    running: tuple[Tensor, ...],
    batch: tuple[Tensor, ...],
    momentum: float | Tensor | None,
    batches: Tensor | None = None,
    skipped: Tensor | None = None,
    *,
    stacked: bool = False,
) -> None:
    """Move running statistics by ``running ← running + momentum · (batch − running)``, in place, and count the batch.

    Where a value of the batch's statistics is not finite, none of them moves and `skipped` counts instead of `batches`.
    No value is read by Python: nothing synchronises with a device, and a compiled graph stays whole.

    Args:
        running: (C,) each, or (K, C) where stacked.
        batch: of the same shapes.
        momentum: weight of the batch; None counts all batches alike, by `batches`.
        batches: a counter, or None.
        skipped: a counter, or None.
        stacked: K models, each moved as if alone; the counters are common to them.

    >>> mean = torch.zeros(2)
    >>> track((mean,), (torch.tensor([1.0, 2.0]),), 0.5)
    >>> track((mean,), (torch.tensor([1.0, float("nan")]),), 0.5)
    >>> mean
    tensor([0.5000, 1.0000])
    """
    seen = [values.to(old.dtype) for old, values in zip(running, batch, strict=True)]
    finite = torch.stack([values.isfinite() for values in seen]).all(0)
    finite = finite.all(-1, keepdim=True) if stacked else finite.all()
    counted = finite.any()
    if batches is not None:
        batches.add_(counted)
    if skipped is not None:
        skipped.add_(counted.logical_not())
    weight: float | Tensor | None = momentum
    if weight is None:
        weight = 0.0 if batches is None else batches.clamp_min(1).double().reciprocal()
    for old, values in zip(running, seen, strict=True):
        step = weight.to(old.dtype) if isinstance(weight, Tensor) else weight
        old.copy_(torch.where(finite, torch.lerp(old, values, step), old))
