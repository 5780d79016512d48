"""``l1 · Σ|w| + l2/2 · Σw²`` over many tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from normwise.kernels.cpu import penalty
from normwise.kernels.gate import is_plain_cpu
from normwise.regularizers._blocks import added, wide


def weighted_norms(l1: float, l2: float, weights: Sequence[Tensor]) -> Tensor:
    """Return the sum as a scalar of the first tensor's device, float32 for 16-bit tensors."""
    if penalty.takes("penalty", weights):
        total: Tensor = _Kernel.apply(l1, l2, _form_beforehand(weights), *weights)  # type: ignore[no-untyped-call]
        return total
    if is_plain_cpu(*weights):
        value: Tensor = _OneNode.apply(l1, l2, *weights)  # type: ignore[no-untyped-call]
        return value
    return _formula(l1, l2, weights)


def _form_beforehand(weights: Sequence[Tensor]) -> bool:
    # Not beside gradients of the step before, or those that these are added to: memory would hold both. Nor in 16 bits,
    # where a gradient has to be scaled before it is rounded.
    is_free = all(w.grad is None for w in weights if w.is_leaf)
    return torch.is_grad_enabled() and is_free and all(w.dtype.itemsize > 2 for w in weights)


def _formula(l1: float, l2: float, weights: Sequence[Tensor]) -> Tensor:
    # The sums are per tensor and pairwise: `_foreach_norm` adds into one float32 accumulator and is off by
    # 2e-4 on a tensor of four million.
    widened = [wide(w) for w in weights]
    value = l1 * added([w.abs().sum() for w in widened]) if l1 else None
    if l2 or value is None:
        squares = l2 / 2 * added([w.square().sum() for w in widened])
        value = squares if value is None else value + squares
    return value


class _Kernel(torch.autograd.Function):
    """Normwise's kernel over each tensor; torch's operators where the gradient itself is differentiated.

    Where asked, the gradients are formed with the sums, while the weights are at hand. That needs no more memory at the
    worst moment: a penalty that is added to the loss of an earlier forward pass is the first thing whose backward pass
    runs, and what that yields waits for the gradients of the rest.
    """

    @staticmethod
    def forward(ctx: Any, l1: float, l2: float, form: bool, *weights: Tensor) -> Tensor:
        ctx.l1, ctx.l2 = l1, l2
        ctx.save_for_backward(*weights)
        if form:
            (sizes, squares), ctx.formed = penalty.sums_and_gradients(
                weights, ctx.needs_input_grad[3:], l1, l2
            )
        else:
            (sizes, squares), ctx.formed = penalty.sums(weights), None
        wide = torch.float64 if weights[0].dtype is torch.float64 else torch.float32
        return torch.tensor(l1 * sizes + l2 / 2 * squares, dtype=wide)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = cotangents
        needed, weights = ctx.needs_input_grad[3:], ctx.saved_tensors
        wanted = tuple(w for w, is_needed in zip(weights, needed, strict=True) if is_needed)
        # Handed out: a second pass through a kept graph forms its own.
        formed, ctx.formed = ctx.formed, None
        if torch.is_grad_enabled() or not is_plain_cpu(grad, *wanted):
            formed = _gradients(wanted, grad, ctx.l1, ctx.l2)
        else:
            scale = float(grad)
            if formed is None:
                factors = scale * ctx.l1, scale * ctx.l2
                _, formed = penalty.sums_and_gradients(wanted, [True] * len(wanted), *factors)
            elif scale != 1:
                torch._foreach_mul_(formed, scale)
        grads = iter(formed)
        return None, None, None, *(next(grads) if is_needed else None for is_needed in needed)


class _OneNode(torch.autograd.Function):
    # One node for the whole model instead of autograd's chain of small operators: on ten million weights half
    # of the time for squares, on a tiny network about the same.
    @staticmethod
    def forward(ctx: Any, l1: float, l2: float, *weights: Tensor) -> Tensor:
        ctx.l1, ctx.l2 = l1, l2
        ctx.save_for_backward(*weights)
        return _formula(l1, l2, weights)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        needed, weights = ctx.needs_input_grad[2:], ctx.saved_tensors
        if all(needed):
            return None, None, *_gradients(weights, grad, ctx.l1, ctx.l2)
        wanted = tuple(w for w, is_needed in zip(weights, needed, strict=True) if is_needed)
        grads = iter(_gradients(wanted, grad, ctx.l1, ctx.l2))
        return None, None, *(next(grads) if is_needed else None for is_needed in needed)


def _gradients(weights: tuple[Tensor, ...], grad: Tensor, l1: float, l2: float) -> tuple[Tensor, ...]:
    if not l1:
        return torch._foreach_mul(weights, grad * l2)
    signs = torch._foreach_sign(weights)
    if torch.is_grad_enabled():
        # A gradient of this gradient is wanted: out of place.
        scaled = torch._foreach_mul(signs, l1)
        mixed = torch._foreach_add(scaled, torch._foreach_mul(weights, l2)) if l2 else scaled
        return torch._foreach_mul(mixed, grad)
    if l2:
        torch._foreach_mul_(signs, l1)
        torch._foreach_add_(signs, weights, alpha=l2)
        torch._foreach_mul_(signs, grad)
    else:
        torch._foreach_mul_(signs, grad * l1)
    return signs
