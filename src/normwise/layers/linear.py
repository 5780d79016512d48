"""The linear layer: torch's class, with the faster product."""

from __future__ import annotations

from torch import Tensor, nn

from normwise.functional import linear
from normwise.layers._trace import as_leaf, is_traced


class Linear(nn.Linear):
    """``y = x Wᵀ + b``; `torch.nn.Linear`, and in training often half of a perceptron's time.

    Parameters, initial values and results are torch's, to rounding; see `normwise.functional.linear` for what runs.

    Shape: (*, in_features) to (*, out_features).

    >>> import torch
    >>> Linear(3, 2)(torch.ones(4, 3)).shape
    torch.Size([4, 2])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Multiply by the weight and add the bias."""
        if is_traced(input):
            output: Tensor = as_leaf(self, input)
            return output
        # A module's own search for a name takes as long as half of what follows.
        weight, bias = self._parameters.get("weight"), self._parameters.get("bias")
        return linear(input, self.weight if weight is None else weight, self.bias if bias is None else bias)
