"""A weight as one matrix per group of channels, whichever way its module stores it.

Axes: G groups of a convolution (1 elsewhere), O output units of a group, I inputs of a group, then the kernel's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd


def blocks(owner: nn.Module, weight: Tensor) -> Tensor:
    """Return a view (G, O, I, …) of `weight`.

    Linear layers and convolutions store (O, I, …), transposed convolutions (I, O, …). Of other modules the first
    axis is taken for output units (of an embedding: its rows), and a vector holds one number for each unit.

    >>> blocks(nn.ConvTranspose2d(4, 6, 3, groups=2), torch.ones(4, 3, 3, 3)).shape
    torch.Size([2, 3, 2, 3, 3])
    """
    if weight.dim() < 2:
        return weight.view(1, -1, 1)
    groups = owner.groups if isinstance(owner, _ConvNd) else 1
    split = weight.view(groups, weight.shape[0] // groups, *weight.shape[1:])
    return split.transpose(1, 2) if isinstance(owner, _ConvTransposeNd) else split


def matrices(owner: nn.Module, weight: Tensor) -> Tensor:
    """Return `weight` as (G, O, fan-in), float32 where it is stored in 16 bits."""
    return wide(blocks(owner, weight)).flatten(2)


def wide(tensor: Tensor) -> Tensor:
    """Return a 16-bit tensor in float32, any other as it is."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def lengths(tensor: Tensor, axes: Sequence[int]) -> Tensor:
    """Return Euclidean norms over `axes`, kept; the gradient of a zero vector is zero, to every order.

    An infinite slope of the square root at zero would turn the zero gradients of its argument into NaN.
    """
    squares = tensor.square().sum(tuple(axes), keepdim=True)
    is_zero = squares == 0
    return torch.where(is_zero, 0.0, torch.where(is_zero, 1.0, squares).sqrt())


def added(parts: Sequence[Tensor]) -> Tensor:
    """Return the sum of scalars on the device of the first."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part.to(total.device)
    return total
