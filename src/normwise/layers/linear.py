"""The linear layer: torch's class, with the faster product."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.nn.functional import linear as by_torch

from normwise.functional.linear import linear_uncompiled
from normwise.layers._trace import as_leaf, is_traced
from normwise.layers._tracking import held


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
        if is_compiling():
            # As torch's layer does: by way of `held` a compiled program asks far more where the weight is computed.
            return by_torch(input, self.weight, self.bias)
        if type(input) is not Tensor and is_traced(input):
            output: Tensor = as_leaf(self, input)
            return output
        parameters = self._parameters
        try:
            weight: Any = parameters["weight"]
            bias: Tensor | None = parameters["bias"]
        except KeyError:
            weight, bias = held(self, "weight"), held(self, "bias")
        return linear_uncompiled(input, weight, bias, None)
