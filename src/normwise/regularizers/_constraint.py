"""What the constraints on weights share: the weights that they pick, and when these are set."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from normwise.regularizers._blocks import blocks, lengths, wide
from normwise.regularizers._selection import WEIGHTED, Pick, selection, stored


class Constraint:
    """Base of the constraints: picks weights by their owner; a class says which values are allowed.

    Args:
        owners: classes of the modules whose weights are constrained; linear layers and convolutions.
        parameters: names of the parameters.

    Raises:
        ArgumentError: a wrong argument.
    """

    def __init__(
        self, *, owners: Sequence[type[nn.Module]] = WEIGHTED, parameters: Sequence[str] = ("weight",)
    ) -> None:
        self._selection = selection(type(self).__name__, owners, parameters)

    @torch.no_grad()
    def project_(self, model: nn.Module) -> None:
        """Set the weights of `model` to the nearest allowed values, in place; call it after the optimizer's step.

        Frozen weights stay; shared ones are set once; a weight that is allowed keeps every bit.

        Raises:
            ArgumentError: the model has no such weight, or one is under a parametrization.
        """
        who = f"{type(self).__name__}.project_"
        picks = stored(
            self._selection.pick(model, who),
            who,
            "for a computed value would not stay as it is set",
            "remove the parametrization",
        )
        for pick in picks:
            self._set_(pick)

    def parameters(self, model: nn.Module) -> list[tuple[str, Tensor]]:
        """Return the constrained weights of `model` as (dotted name, tensor), each once."""
        picks = self._selection.pick(model, type(self).__name__)
        return [(pick.name, pick.tensor) for pick in picks]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._arguments()})"

    def _arguments(self) -> str:
        return ""

    def _set_(self, pick: Pick) -> None:
        raise NotImplementedError(f"{type(self).__name__} must define `_set_`")


class UnitConstraint(Constraint):
    """Base of the constraints on the length of each output unit's weights."""

    def _set_(self, pick: Pick) -> None:
        block = blocks(pick.owner, pick.tensor)
        # Lengths and products in float32 for 16-bit weights: squares would leave float16's range.
        weights = wide(block)
        block.copy_(weights * self._factors(lengths(weights, range(2, block.dim()))))

    def _factors(self, lengths: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must define `_factors`")
