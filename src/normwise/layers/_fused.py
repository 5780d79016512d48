"""What the fused layers share: residual, activation and dropout after their normalization."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from normwise import functional
from normwise.errors import ArgumentError, explain
from normwise.layers._state import Normalizer
from normwise.layers._trace import as_leaf, is_traced


class Fused(Normalizer):
    """Base of the fused layers.

    Attributes:
        activation: the name of the activation.
        dropout: the probability of an element to be zeroed in training.
        draws: drop in evaluation, too, where the normalization is evaluation's; `monte_carlo` sets it for a while.
    """

    takes_weights: ClassVar[bool] = False
    draws: bool = False

    activation: str
    dropout: float

    def set_finish(self, activation: str, dropout: float) -> None:
        """Take the activation and the drop rate; wrong ones raise."""
        functional.check_finish(type(self).__name__, activation, dropout)
        self.activation = activation
        self.dropout = dropout

    def forward(
        self, input: Tensor, residual: Tensor | None = None, sample_weight: Tensor | None = None
    ) -> Tensor:
        """Return ``dropout(activation(normalize(input) + residual))``.

        Args:
            input: as the normalization takes it.
            residual: of the input's shape, added before the activation.
            sample_weight: a mask, or weights in the statistics; of batch, group, instance and layer normalization.
        """
        if type(input) is not Tensor and is_traced(input):
            output: Tensor = as_leaf(self, input, residual=residual, sample_weight=sample_weight)
            return output
        dropout = self.dropout if self.training or self.draws else 0.0
        if sample_weight is None:
            return self.normalize(input, residual=residual, activation=self.activation, dropout=dropout)
        if not self.takes_weights:
            raise ArgumentError(
                explain(
                    type(self).__name__,
                    "`sample_weight` is for layers whose statistics go over positions",
                    "one that normalizes each position by itself",
                    "leave it away: padding has no part in the other positions",
                )
            )
        return self.normalize(
            input, residual=residual, activation=self.activation, dropout=dropout, sample_weight=sample_weight
        )

    def extra_repr(self) -> str:
        """What the normalization says, then activation and dropout."""
        return f"{self.describe()}, activation={self.activation!r}, dropout={self.dropout}"
