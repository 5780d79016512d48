"""Running statistics in torch's operators: a batch's go into them whole or, where one is not finite, not at all."""

from __future__ import annotations

from torch import Tensor


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

    >>> import torch
    >>> mean = torch.zeros(2)
    >>> track((mean,), (torch.tensor([1.0, 2.0]),), 0.5)
    >>> track((mean,), (torch.tensor([1.0, float("nan")]),), 0.5)
    >>> mean
    tensor([0.5000, 1.0000])
    """
    seen = [values.detach().to(old.dtype) for old, values in zip(running, batch, strict=True)]
    # Zero where all values are finite, else NaN: one sum, which a compiled program forms in one loop.
    nothing = seen[0] * 0.0
    for values in seen[1:]:
        nothing = nothing + values * 0.0
    finite = (nothing.sum(-1, keepdim=True) if stacked else nothing.sum()) == 0.0
    counted = finite.any() if stacked else finite
    if batches is not None:
        batches.add_(counted)
    if skipped is not None:
        skipped.add_(counted.logical_not())
    step: float | Tensor = 0.0
    if momentum is not None:
        step = momentum
    elif batches is not None:
        step = batches.clamp_min(1).double().reciprocal()
    for old, values in zip(running, seen, strict=True):
        # Not by isinstance: a compiled program would ask at every call whether all modules mean the same by `Tensor`.
        weight = step.detach().to(old.dtype) if hasattr(step, "detach") else step
        old.copy_(old.lerp(values, weight).where(finite, old))
