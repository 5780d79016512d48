"""Filter response normalization: the root mean square of each channel's positions, and a learned threshold."""

from __future__ import annotations

import torch
from torch import Tensor

from normwise.functional._channels import check_channels
from normwise.functional._wide import affine, beside, widened


def filter_response_norm(
    input: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    tau: Tensor | None = None,
    eps: float | Tensor = 1e-6,
    *,
    num_channels: int | None = None,
) -> Tensor:
    """Scale each channel of each sample by its root mean square over the positions; then a threshold.

    ``y = max(x / sqrt(mean(x²) + |eps|) · weight + bias, tau)``, with the mean over the positions.

    Args:
        input: (N, C, *).
        weight: (C,) or None for 1.
        bias: (C,) or None for 0.
        tau: (C,), the thresholds, or None for no threshold.
        eps: its magnitude is added to the mean square, under the root; a tensor of one element may learn.
        num_channels: C, where no weight tells it.

    Returns:
        The input's shape, dtype and layout. The mean square is float32, float64 for float64 input.

    Raises:
        ArgumentError: (a ValueError) no axis of channels, or another number of them.

    Source: Singh & Krishnan 2020, equations 1 to 3.

    >>> filter_response_norm(torch.tensor([[[3.0, -3.0]]]), eps=1e-12)
    tensor([[[ 1., -1.]]])
    """
    check_channels("FilterResponseNorm", input, num_channels if weight is None else weight.shape[0])
    wide = widened(input)
    places = tuple(range(2, input.dim()))
    squares = wide.square()
    # `mean` over no axes would be over all of them.
    mean_square = squares.mean(places, keepdim=True) if places else squares
    added = eps.to(wide.dtype).abs() if isinstance(eps, Tensor) else abs(eps)
    output = affine(wide * torch.rsqrt(mean_square + added), weight, bias)
    if tau is not None:
        output = torch.maximum(output, beside(tau, output))
    return output.to(input.dtype)
