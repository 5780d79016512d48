"""A linear layer whose products run in the faster of the two libraries that torch brings, under an autograd function.

oneDNN is reached through the operator that torch's compiler uses for linear layers. It wants matrices that lie
densely, one way or the other, and adds up so many terms in one register that long sums are cut into pieces.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from normwise.kernels.cpu import preference
from normwise.kernels.gate import is_plain_gradient

_LONGEST_SUM, _SUMMED_AT_ONCE = 1024, 512
_mkldnn_enabled = torch._C._get_mkldnn_enabled


def why_blas(x: Tensor, weight: Tensor) -> str | None:
    """Why the BLAS multiplies, as it does for torch, or None where oneDNN does."""
    outer, inner = weight.shape
    samples = x.numel() // inner
    if x.dtype is not torch.float32 or not _mkldnn_enabled():
        return "oneDNN multiplies no faster"
    if samples * inner * outer < preference.products_for_onednn():
        return "oneDNN multiplies matrices of this size no faster on this machine"
    if min(samples, inner, outer) < preference.SHORTEST_AXIS:
        return f"oneDNN multiplies matrices with an axis below {preference.SHORTEST_AXIS} no faster"
    return None


def why_not(x: Tensor, weight: Tensor, bias: Tensor | None) -> str | None:
    """Why the sizes and dtypes of plain tensors do not fit, or None; torch refuses them in its words."""
    if torch.is_autocast_enabled("cpu"):
        return "autocast chooses the product's dtype"
    if weight.dtype is not x.dtype or (bias is not None and bias.dtype is not x.dtype):
        return f"parameters of {weight.dtype} for an input of {x.dtype}"
    if weight.dim() != 2 or weight.numel() == 0 or x.dim() < 1 or x.shape[-1] != weight.shape[1]:
        return "a weight of another size than the input's last axis, or an empty one"
    if bias is not None and bias.shape != weight.shape[:1]:
        return "a bias of another size than the outputs"
    return None


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``x @ weight.T + bias`` for tensors that `normwise.kernels.cpu` has found fit."""
    x = x.contiguous()
    if not weight.t().is_contiguous():
        weight = weight.contiguous()
    multiply = _by_onednn if why_blas(x, weight) is None else _by_torch
    if torch.is_grad_enabled() and (
        x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    ):
        output: Tensor = _Linear.apply(x, weight, bias, multiply)  # type: ignore[no-untyped-call]
        return output
    return _forward(x, weight, bias, multiply)


_Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def _forward(x: Tensor, weight: Tensor, bias: Tensor | None, multiply: _Product) -> Tensor:
    return multiply(x.view(-1, x.shape[-1]), weight.t(), bias).view(*x.shape[:-1], weight.shape[0])


def _by_torch(left: Tensor, right: Tensor, bias: Tensor | None) -> Tensor:
    """``left @ right + bias`` by the BLAS."""
    return left @ right if bias is None else torch.addmm(bias, left, right)


def _by_onednn(left: Tensor, right: Tensor, bias: Tensor | None) -> Tensor:
    """``left @ right + bias`` by oneDNN."""
    multiply = torch.ops.mkldnn._linear_pointwise
    terms = left.shape[1]
    if terms <= _LONGEST_SUM:
        product: Tensor = multiply(left, right.t(), bias, "none", [], "")
        return product
    pieces = [
        multiply(_dense(one), _dense(other).t(), None, "none", [], "")
        for one, other in zip(
            torch.split(left, _SUMMED_AT_ONCE, 1), torch.split(right, _SUMMED_AT_ONCE, 0), strict=True
        )
    ]
    total: Tensor = pieces[0] if bias is None else pieces[0].add_(bias)
    for piece in pieces[1:]:
        total.add_(piece)
    return total


def _dense(part: Tensor) -> Tensor:
    """A matrix that lies densely one way or the other: for others oneDNN has loops a thousand times slower."""
    return part if part.stride(0) == 1 else part.contiguous()


class _Linear(torch.autograd.Function):
    """The products forward and backward; where a second derivative is asked for, torch's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, multiply: _Product) -> Tensor:
        needs_x, needs_weight, *_ = ctx.needs_input_grad
        ctx.save_for_backward(x if needs_weight else None, weight if needs_x else None)
        ctx.set_materialize_grads(False)
        ctx.shape, ctx.multiply = x.shape, multiply
        return _forward(x, weight, bias, multiply)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        (dy,) = cotangents
        if dy is None:
            return None, None, None, None
        x, weight = ctx.saved_tensors
        plain = not torch.is_grad_enabled() and is_plain_gradient(dy)
        multiply = ctx.multiply if plain else _by_torch
        rows = dy.reshape(-1, dy.shape[-1]).contiguous()
        needs_x, needs_weight, needs_bias, _ = ctx.needs_input_grad
        return (
            multiply(rows, weight, None).view(ctx.shape) if needs_x else None,
            multiply(rows.t(), x.view(rows.shape[0], -1), None) if needs_weight else None,
            rows.sum(0) if needs_bias else None,
            None,
        )
