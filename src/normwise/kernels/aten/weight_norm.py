"""Weight normalization that is finite for a direction of zero length."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.linalg import vector_norm

from normwise.kernels.cpu.glance import has_zero
from normwise.kernels.gate import is_plain_cpu

_FUSED_DTYPES = (torch.float32, torch.float64)
_grad_enabled = torch.is_grad_enabled


def weight_norm(gain: Tensor, direction: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The weight ``gain · direction / ‖direction‖``; see `normwise.functional.weight_norm`."""
    if (
        not is_compiling()
        and axes == tuple(range(1, direction.dim()))
        and direction.dtype in _FUSED_DTYPES
        and gain.dtype == direction.dtype
        # The operator reads memory as if rows were contiguous, whatever the strides say.
        and direction.is_contiguous()
        and gain.is_contiguous()
        and is_plain_cpu(gain, direction)
    ):
        weight, norm = torch._weight_norm_interface(direction, gain, 0)
        if not has_zero(norm):
            if weight.grad_fn is not None:
                weight.grad_fn.register_hook(partial(_differentiable, gain, direction, axes))
            return weight
    return direction * (gain / _length(direction, axes))


def _length(direction: Tensor, axes: tuple[int, ...]) -> Tensor:
    # 0/0 is NaN in the value and in both gradients. A length of one in the place of zero gives the weight 0
    # and the gradient `gain` with respect to the direction, so that training can give the unit a direction.
    norm: Tensor = vector_norm(direction, dim=axes, keepdim=True)
    return norm.masked_fill(norm == 0, 1.0)


def _differentiable(
    gain: Tensor,
    direction: Tensor,
    axes: tuple[int, ...],
    gradients: tuple[Tensor | None, ...],
    cotangents: tuple[Tensor | None, ...],
) -> tuple[Tensor | None, ...] | None:
    """Gradients of direction and gain in the place of the operator's, where they are to be differentiated themselves.

    The operator's second derivative is wrong in torch 2.13: it takes the lengths for constants.
    """
    cotangent = cotangents[0]
    if cotangent is None or not _grad_enabled():
        return None
    length = _length(direction, axes)
    unit = direction / length
    along = (cotangent * unit).sum(axes, keepdim=True)
    by_direction, by_gain = gradients
    return (
        None if by_direction is None else gain / length * (cotangent - unit * along),
        None if by_gain is None else along,
    )
