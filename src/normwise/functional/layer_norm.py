"""Layer normalization, over the trailing axes or over the channels of channels-first input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from normwise.functional._channels import check_channels
from normwise.kernels import aten


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize the trailing axes by their mean and variance.

    ``y = (x − μ) / sqrt(σ² + eps) · weight + bias``, with the biased variance σ².

    Args:
        input: (*, *normalized_shape).
        normalized_shape: the trailing axes.
        weight: `normalized_shape`, or None for 1.
        bias: `normalized_shape`, or None for 0.
        eps: added to the variance, under the root.

    Returns:
        The input's shape and dtype, contiguous. Statistics are float32, float64 for float64 input.

    Raises:
        RuntimeError: the input does not end in `normalized_shape` (torch's own message).

    Source: Ba, Kiros & Hinton 2016, equations 3 and 4.

    >>> import torch
    >>> layer_norm(torch.tensor([[1.0, 3.0]]), (2,), eps=1e-12)
    tensor([[-1.,  1.]])
    """
    return torch.layer_norm(input, tuple(normalized_shape), weight, bias, eps, torch.backends.cudnn.enabled)


def layer_norm_over_channels(
    input: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *,
    num_channels: int | None = None,
) -> Tensor:
    """Normalize axis 1 of channels-first input by its mean and variance, position by position.

    The formula is that of `layer_norm`; weight and bias are (C,).

    Args:
        input: (N, C, *).
        weight: (C,) or None for 1.
        bias: (C,) or None for 0.
        eps: added to the variance, under the root.
        num_channels: C, where no weight tells it.

    Returns:
        The input's shape, dtype and layout. Statistics are float32, float64 for float64 input.

    Raises:
        ArgumentError: (a ValueError) no axis of channels, or weight and channels that differ.

    Source: the LayerNorm of ConvNeXt (Liu et al. 2022).

    >>> import torch
    >>> layer_norm_over_channels(torch.tensor([[[1.0], [3.0]]]), eps=1e-12)
    tensor([[[-1.],
             [ 1.]]])
    """
    check_channels("LayerNorm", input, num_channels if weight is None else weight.shape[0])
    return aten.layer_norm_over_channels(input, weight, bias, eps)
