"""The check that an input has the channels that a layer was built for."""

from __future__ import annotations

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
