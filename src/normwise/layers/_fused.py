"""What the fused layers share: residual, activation and dropout after their normalization."""

from __future__ import annotations

from torch import Tensor

from normwise import functional
from normwise.layers._state import Normalizer
from normwise.layers._trace import as_leaf, is_traced


class Fused(Normalizer):
    """Base of the fused layers.

    Attributes:
        activation: the name of the activation.
        dropout: the probability of an element to be zeroed in training.
    """

    activation: str
    dropout: float

    def set_finish(self, activation: str, dropout: float) -> None:
        """Take the activation and the drop rate; wrong ones raise."""
        functional.check_finish(type(self).__name__, activation, dropout)
        self.activation = activation
        self.dropout = dropout

    def forward(self, input: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return ``dropout(activation(normalize(input) + residual))``."""
        if is_traced(input):
            output: Tensor = as_leaf(self, input, residual)
            return output
        return self.normalize(
            input,
            residual=residual,
            activation=self.activation,
            dropout=self.dropout if self.training else 0.0,
        )

    def extra_repr(self) -> str:
        """What the normalization says, then activation and dropout."""
        return f"{self.describe()}, activation={self.activation!r}, dropout={self.dropout}"
