"""Images between 0 and 1 and back: some operations know black and white."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from normwise.errors import ArgumentError, explain

Bounds = tuple[tuple[float, ...], tuple[float, ...]]


def checked_bounds(bounds: Sequence[float | Sequence[float]] | None) -> Bounds | None:
    """Return black and white as a number for each channel, or one for all.

    Raises:
        ArgumentError: they are no pair, or white is not above black.
    """
    if bounds is None:
        return None
    try:
        low, high = (tuple(map(float, b)) if isinstance(b, Sequence) else (float(b),) for b in bounds)
        is_right = len(low) == len(high) > 0 and all(a < b for a, b in zip(low, high, strict=True))
    except (TypeError, ValueError):
        is_right = False
    if not is_right:
        raise ArgumentError(
            explain(
                "augment",
                "`bounds` must be (black, white), numbers or one for each channel, white above black",
                repr(bounds),
                "write (0.0, 1.0) for pixels that are not standardised",
            )
        )
    return low, high


def to_unit(images: Tensor, bounds: Bounds | None) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return the images with black at 0 and white at 1, clamped, and the way back.

    Without bounds, each channel's least and greatest value in the batch stand for black and white.
    """
    if bounds is None:
        low, high = images.amin((0, 2, 3), keepdim=True), images.amax((0, 2, 3), keepdim=True)
    else:
        low, high = (images.new_tensor(numbers).view(1, -1, 1, 1) for numbers in bounds)
    span = torch.where(high > low, high - low, 1.0)
    return ((images - low) / span).clamp(0, 1), lambda unit: unit * span + low
