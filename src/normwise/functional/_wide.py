"""The dtype of statistics, and parameters brought beside an input."""

from __future__ import annotations

from typing import overload

import torch
from torch import Tensor


def widened(input: Tensor) -> Tensor:
    """The input in the dtype of statistics: float32, float64 for float64."""
    return input if input.dtype in (torch.float32, torch.float64) else input.float()


@overload
def beside(values: Tensor, input: Tensor, axis: int = 1) -> Tensor: ...
@overload
def beside(values: None, input: Tensor, axis: int = 1) -> None: ...
def beside(values: Tensor | None, input: Tensor, axis: int = 1) -> Tensor | None:
    """One value per channel, (C,), in the input's dtype and with its axes, so that it broadcasts along `axis`."""
    if values is None:
        return None
    after = input.dim() - 1 - axis % input.dim()
    return values.to(input.dtype).reshape(-1, *(1,) * after)


def affine(hat: Tensor, weight: Tensor | None, bias: Tensor | None, axis: int = 1) -> Tensor:
    """``hat · weight + bias``, per channel."""
    if weight is not None:
        hat = hat * beside(weight, hat, axis)
    return hat if bias is None else hat + beside(bias, hat, axis)


def root(squares: Tensor) -> Tensor:
    """The square root, with a gradient of 0 at 0 where `torch.sqrt` has an infinite one."""
    positive = squares > 0
    return torch.where(positive, torch.where(positive, squares, 1.0).sqrt(), 0.0)


def variance(input: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The biased variance over the axes, which stay with size 1; torch's, which subtracts the mean first."""
    if input.numel():
        return input.var(axes, correction=0, keepdim=True)
    return input.sum(axes, keepdim=True)  # torch warns of the variance of nothing
