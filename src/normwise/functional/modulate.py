"""Modulation: an affine map whose scale and shift come from a condition."""

from __future__ import annotations

from torch import Tensor

from normwise.errors import ArgumentError, explain
from normwise.functional._wide import widened


def modulate(
    input: Tensor,
    scale: Tensor,
    shift: Tensor | None = None,
    *,
    centre: float = 1.0,
    channels_last: bool = False,
    who: str = "modulate",
) -> Tensor:
    """Scale and shift each sample by values of its own.

    ``y = x · (centre + scale) + shift``.

    Args:
        input: (N, C, *), or (N, *, C) with `channels_last`.
        scale: (N, C), one per channel; or of as many axes as the input, each of the same size or 1.
        shift: as `scale`, or None for 0.
        centre: what the scale is added to; 0 takes the scale as it is.
        channels_last: channels are the last axis.
        who: speaks in messages.

    Returns:
        The input's shape, dtype and layout; computed in float32, float64 for float64 input.

    Raises:
        ArgumentError: (a ValueError) scale or shift of another number of samples or channels, or of other positions.

    Source: Perez et al. 2018, equation 2, about one.

    >>> import torch
    >>> modulate(torch.ones(1, 2, 3), torch.tensor([[0.0, 1.0]]), torch.tensor([[5.0, 0.0]]))
    tensor([[[6., 6., 6.],
             [2., 2., 2.]]])
    """
    wide = widened(input)
    factor = fitted(who, "scale", scale, input, channels_last).to(wide.dtype)
    output = wide * (factor + centre if centre else factor)
    if shift is not None:
        output = output + fitted(who, "shift", shift, input, channels_last).to(wide.dtype)
    return output.to(input.dtype)


def fitted(who: str, what: str, values: Tensor, input: Tensor, channels_last: bool = False) -> Tensor:
    """Values of a condition with the input's axes, so that they broadcast; (N, C) gets its positions.

    Raises:
        ArgumentError: (a ValueError) they do not fit.
    """
    axis = input.dim() - 1 if channels_last else 1
    samples, channels = input.shape[0], input.shape[axis]
    if values.dim() == 2:
        if values.shape[0] != samples or values.shape[1] != channels:
            raise ArgumentError(
                explain(
                    who,
                    f"the condition must give {what}s for {samples} samples of {channels} channels",
                    f"{what}s of shape {tuple(values.shape)} for an input of {tuple(input.shape)}",
                    "a condition goes with each sample: repeat a common one with expand",
                )
            )
        return values.reshape(*(size if place in (0, axis) else 1 for place, size in enumerate(input.shape)))
    sizes = zip(values.shape, input.shape, strict=False)
    same = values.dim() == input.dim() and values.shape[0] == samples
    # `in` does not find a symbolic size under `torch.compile(dynamic=True)`.
    if not same or any(size != 1 and size != whole for size, whole in sizes):
        raise ArgumentError(
            explain(
                who,
                f"the condition must give {what}s (N, C), or of the input's axes, each of its size or 1",
                f"{what}s of shape {tuple(values.shape)} for an input of {tuple(input.shape)}",
            )
        )
    return values
