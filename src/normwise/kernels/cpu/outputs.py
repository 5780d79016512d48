"""Memory for what the kernels of the portable binding write."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from normwise.kernels.cpu.call import DTYPES
from normwise.kernels.cpu.portable import load

LARGE = 2 << 20
"""Bytes from which an output is large, as blocks.h has it."""

_Strides = tuple[int, ...]


def output_like(x: Tensor) -> Tensor:
    """Uninitialized, with the shape, strides and dtype of a tensor that lies densely.

    What is large lies in a block that the process keeps: malloc would have its pages mapped and zeroed anew.
    """
    if x.nbytes < LARGE:
        return torch.empty_like(x)
    block = _block(x.shape, x.stride(), x.dtype)
    return torch.empty_like(x) if block is None else block


def output_strided(shape: torch.Size, strides: _Strides, dtype: torch.dtype) -> Tensor:
    """The same for strides without gaps."""
    block = None if shape.numel() * dtype.itemsize < LARGE else _block(shape, strides, dtype)
    return torch.empty_strided(shape, strides, dtype=dtype, device="cpu") if block is None else block


def like(tensor: Tensor, x: Tensor) -> Tensor:
    """The tensor with x's strides, copied only where it has others."""
    if tensor.stride() == x.stride():
        return tensor
    return output_like(x).copy_(tensor)


def _block(shape: torch.Size, strides: _Strides, dtype: torch.dtype) -> Tensor | None:
    capsule = load()[0].block(shape.numel() * dtype.itemsize, DTYPES[dtype], shape, strides)
    return None if capsule is None else from_dlpack(capsule)
