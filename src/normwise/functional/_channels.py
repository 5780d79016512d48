"""Checks of what goes with an input: the channels that a layer was built for, and the weights of its elements."""

from __future__ import annotations

import torch
from torch import Tensor

from normwise.errors import ArgumentError, explain


def check_channels(who: str, input: Tensor, channels: int | None) -> None:
    """Raise unless the input is (N, C, *), with C as given (None takes any)."""
    if input.dim() < 2:
        raise ArgumentError(explain(who, "the input must have the axes (N, C, *)", f"{input.dim()}D input"))
    if channels is not None and channels != input.shape[1]:
        raise ArgumentError(
            explain(
                who,
                f"axis 1 of the input must have the {channels} channels of the layer",
                f"input size {tuple(input.shape)}",
                "channels come first: move them there with movedim(-1, 1)",
            )
        )


def check_weights(who: str, input: Tensor, sample_weight: Tensor) -> Tensor:
    """The weights of samples and positions of (N, C, *) as (N, S), float32.

    Raises:
        ArgumentError: (a ValueError) they are neither (N, *) nor (N,).
    """
    places = (input.shape[0], *input.shape[2:])
    if tuple(sample_weight.shape) not in (places, (places[0], *(1,) * (len(places) - 1)), places[:1]):
        raise ArgumentError(
            explain(
                who,
                f"`sample_weight` must be (N, *), here {places}, or (N,)",
                f"shape {tuple(sample_weight.shape)}",
            )
        )
    if sample_weight.dim() < len(places):
        sample_weight = sample_weight.reshape(-1, *(1,) * (len(places) - 1))
    return sample_weight.detach().to(torch.float32).expand(places).reshape(places[0], -1).contiguous()


def without_holes(input: Tensor, part: Tensor) -> Tensor:
    """The input with zeros where an element of weight 0 is not finite: NaN in padding times 0 would be NaN.

    Args:
        input: any shape.
        part: weights that broadcast to it.
    """
    return input.masked_fill((part == 0) & input.isfinite().logical_not(), 0.0)


def beside_channels(part: Tensor, input: Tensor) -> Tensor:
    """Weights (N, S) of (N, C, *) with an axis for the channels and the axes of the positions."""
    return part.view(input.shape[0], 1, *input.shape[2:])
