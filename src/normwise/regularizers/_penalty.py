"""What the penalties on weights share: the weights that they pick, and the checks of their arguments."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from normwise.errors import ArgumentError, explain
from normwise.regularizers._selection import WEIGHTED, Pick, selection
from normwise.regularizers._weighted_norms import weighted_norms
from normwise.regularizers.sparsity import zero_fraction


class Penalty:
    """Base of the penalties on weights: picks weights by their owner; a class says what they cost."""

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
        return self._value(self._pick(model))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._arguments()})"

    def _arguments(self) -> str:
        return repr(self.strength)

    def _value(self, picks: list[Pick]) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must define `_value`")

    def _pick(self, model: nn.Module) -> list[Pick]:
        return self._selection.pick(model, type(self).__name__)


class ElementPenalty(Penalty):
    """Base of L1, L2 and elastic: ``l1 · Σ|w| + l2/2 · Σw²``.

    On the CPU the gradients are formed with the value where the weights hold none (after ``zero_grad()``), in one pass
    over memory; they are kept until the backward pass.
    """

    def _value(self, picks: list[Pick]) -> Tensor:
        return weighted_norms(*self._coefficients(), [pick.tensor for pick in picks])

    def _coefficients(self) -> tuple[float, float]:
        raise NotImplementedError(f"{type(self).__name__} must define `_coefficients`")
