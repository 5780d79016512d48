"""Root mean square normalization, over the trailing axes or over the channels of channels-first input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from normwise.functional._channels import check_channels
from normwise.kernels import aten


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Scale the trailing axes by their root mean square.

    ``y = x / sqrt(mean(x²) + eps) · weight``.

    Args:
        input: (*, *normalized_shape).
        normalized_shape: the trailing axes.
        weight: `normalized_shape`, or None for 1.
        eps: added to the mean square, under the root; None is the machine epsilon of float32 (of float64 for
            float64).

    Returns:
        The input's shape and dtype, contiguous. The mean square is float32, float64 for float64 input.

    Raises:
        RuntimeError: the input does not end in `normalized_shape` (torch's own message).

    Source: Zhang & Sennrich 2019, equation 4, which has no eps.

    >>> import torch
    >>> rms_norm(torch.tensor([[3.0, -3.0]]), (2,), eps=1e-12)
    tensor([[ 1., -1.]])
    """
    return torch.rms_norm(input, tuple(normalized_shape), weight, eps)


def rms_norm_over_channels(
    input: Tensor, weight: Tensor | None = None, eps: float | None = None, *, num_channels: int | None = None
) -> Tensor:
    """Scale axis 1 of channels-first input by its root mean square, position by position.

    The formula is that of `rms_norm`; the weight is (C,).

    Args:
        input: (N, C, *).
        weight: (C,) or None for 1.
        eps: as in `rms_norm`.
        num_channels: C, where no weight tells it.

    Returns:
        The input's shape, dtype and layout. The mean square is float32, float64 for float64 input.

    Raises:
        ArgumentError: (a ValueError) no axis of channels, or weight and channels that differ.

    >>> import torch
    >>> rms_norm_over_channels(torch.tensor([[[3.0], [-3.0]]]), eps=1e-12)
    tensor([[[ 1.],
             [-1.]]])
    """
    check_channels("RMSNorm", input, num_channels if weight is None else weight.shape[0])
    return aten.rms_norm_over_channels(input, weight, eps)
