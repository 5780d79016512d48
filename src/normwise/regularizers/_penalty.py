"""What L1, L2 and elastic share: ``l1 · Σ|w| + l2/2 · Σw²`` over the picked weights, one node of autograd."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from normwise.errors import ArgumentError, explain
from normwise.regularizers._selection import WEIGHTED, Pick, selection
from normwise.regularizers.sparsity import zero_fraction


class Penalty:
    """Base of the penalties: picks weights by their owner and sums ``l1 · |w| + l2/2 · w²`` over them."""

    def __init__(
        self,
        strength: float,
        *,
        owners: Sequence[type[nn.Module]] = WEIGHTED,
        parameters: Sequence[str] = ("weight",),
    ) -> None:
        who = type(self).__name__
        if not (math.isfinite(strength) and strength >= 0):
            raise ArgumentError(explain(who, "`strength` must be finite and not negative", repr(strength)))
        self.strength = float(strength)
        self._selection = selection(who, owners, parameters)

    def parameters(self, model: nn.Module) -> list[tuple[str, Tensor]]:
        """Return the penalised weights of `model` as (dotted name, tensor), each once.

        A weight under a parametrization (weight normalization) appears as its effective value.
        """
        return [(pick.name, pick.tensor) for pick in self._pick(model)]

    def sparsity(self, model: nn.Module) -> float:
        """Return the fraction of the penalised weights of `model` that are exactly zero."""
        return zero_fraction([pick.tensor for pick in self._pick(model)])

    def __call__(self, model: nn.Module) -> Tensor:
        """Return the penalty of `model` as a scalar to add to the loss.

        The scalar has the weights' dtype, float32 where that is a 16-bit one.
        Frozen weights count in the value; their gradient is not formed.
        """
        l1, l2 = self._coefficients()
        tensors = [pick.tensor for pick in self._pick(model)]
        value: Tensor = _WeightedNorms.apply(l1, l2, *tensors)  # type: ignore[no-untyped-call]
        return value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._arguments()})"

    def _arguments(self) -> str:
        return repr(self.strength)

    def _coefficients(self) -> tuple[float, float]:
        raise NotImplementedError

    def _pick(self, model: nn.Module) -> list[Pick]:
        return self._selection.pick(model, type(self).__name__)


class _WeightedNorms(torch.autograd.Function):
    # One node for the whole model: on a tiny network autograd's own chain of small operators costs a third
    # more, on ten million weights twice as much. The sums are per tensor and pairwise: `_foreach_norm` adds
    # into one float32 accumulator and is off by 2e-4 on a tensor of four million.
    @staticmethod
    def forward(l1: float, l2: float, *weights: Tensor) -> Tensor:
        wide = [w.float() if w.dtype in (torch.float16, torch.bfloat16) else w for w in weights]
        home = wide[0].device
        total = wide[0].new_zeros(())
        if l1:
            total = total + l1 * torch.stack([w.abs().sum().to(home) for w in wide]).sum()
        if l2:
            total = total + l2 / 2 * torch.stack([w.square().sum().to(home) for w in wide]).sum()
        return total

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.l1, ctx.l2, *weights = inputs
        ctx.save_for_backward(*weights)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[2:]
        weights = [w for w, wanted in zip(ctx.saved_tensors, needed, strict=True) if wanted]
        grads = iter(_gradients(weights, grad, ctx.l1, ctx.l2))
        return None, None, *(next(grads) if wanted else None for wanted in needed)


def _gradients(weights: list[Tensor], grad: Tensor, l1: float, l2: float) -> Sequence[Tensor]:
    # Out of place throughout, so that a gradient of this gradient can be taken.
    if not l1:
        return [w * (grad * l2).to(w.device) for w in weights]
    signs = torch._foreach_sign(weights)
    if not l2:
        return [s * (grad * l1).to(s.device) for s in signs]
    mixed = torch._foreach_add(torch._foreach_mul(weights, l2), torch._foreach_mul(signs, l1))
    return [m * grad.to(m.device) for m in mixed]
