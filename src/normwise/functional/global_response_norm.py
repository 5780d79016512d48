"""Global response normalization: channels compete by their length over all positions."""

from __future__ import annotations

from torch import Tensor

from normwise.errors import ArgumentError, explain
from normwise.functional._wide import affine, root, widened


def global_response_norm(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    eps: float = 1e-6,
    *,
    channels_last: bool = False,
) -> Tensor:
    """Scale each channel by its share of the lengths of all channels, beside the input itself.

    ``y = x + weight · x · g / (mean(g) + eps) + bias``, with ``g = ‖x‖₂`` over the positions of a channel of a
    sample, and the mean over the channels.

    Args:
        input: (N, C, *), or (N, *, C) with `channels_last`, with at least one axis of positions.
        weight: (C,).
        bias: (C,) or None for 0.
        eps: added to the mean length.
        channels_last: channels are the last axis.

    Returns:
        The input's shape, dtype and layout. Lengths are float32, float64 for float64 input; that of a channel of
        zeros has a gradient of zero.

    Raises:
        ArgumentError: (a ValueError) no positions, or weight and channels that differ.

    Source: Woo et al. 2023, algorithm 1.

    >>> import torch
    >>> x = torch.tensor([[[3.0, 4.0], [0.0, 15.0]]])
    >>> global_response_norm(x, torch.ones(2))
    tensor([[[ 4.5000,  6.0000],
             [ 0.0000, 37.5000]]])
    """
    axis = input.dim() - 1 if channels_last else 1
    if input.dim() < 3 or input.shape[axis] != weight.shape[0]:
        raise ArgumentError(
            explain(
                "GlobalResponseNorm",
                f"the input must be {'(N, *, C)' if channels_last else '(N, C, *)'} with positions and C = "
                f"{weight.shape[0]}",
                f"input size {tuple(input.shape)}",
                f"channels_last={not channels_last} is the other order",
            )
        )
    wide = widened(input)
    places = tuple(place for place in range(1, input.dim()) if place != axis)
    length = root(wide.square().sum(places, keepdim=True))
    share = length / (length.mean(axis, keepdim=True) + eps)
    return (wide + affine(wide * share, weight, bias, axis)).to(input.dtype)
