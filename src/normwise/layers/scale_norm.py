"""Scale normalization: one learned length for all vectors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from normwise import functional
from normwise.errors import ArgumentError, explain
from normwise.layers._state import Device, DType, Normalizer


class ScaleNorm(Normalizer):
    """Scale normalization of (*, dim): one learned number in the place of a weight per element.

    ``y = weight · x / max(‖x‖₂, eps)`` over the last axis. The weight, of no axes, starts at ``sqrt(dim)``, where
    the layer is `RMSNorm` without a weight. Fixed at 1 it is ``torch.nn.functional.normalize(x, dim=-1)``.

    Args:
        dim: C, the size of the last axis.
        eps: the least length that is divided by.
        device: of the weight.
        dtype: of the weight.

    Raises:
        ValueError: another size of the last axis.

    Source: Nguyen & Salazar 2019, equation 5.

    >>> ScaleNorm(2)(torch.tensor([[3.0, -3.0]])).detach().round(decimals=3)
    tensor([[ 1., -1.]])
    """

    weight: Tensor

    def __init__(self, dim: int, eps: float = 1e-5, device: Device = None, dtype: DType = None) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps
        self.weight = nn.Parameter(torch.full((), dim**0.5, device=device, dtype=dtype))

    def reset_parameters(self) -> None:
        """Set the length to the root of the size."""
        nn.init.constant_(self.weight, self.dim**0.5)

    def normalize(self, input: Tensor, **after: Any) -> Tensor:
        """Normalize the input."""
        if input.dim() < 1 or input.shape[-1] != self.dim:
            raise ArgumentError(
                explain(
                    "ScaleNorm",
                    f"the input's last axis must be of size {self.dim}",
                    f"input size {tuple(input.shape)}",
                )
            )
        return functional.scale_norm(input, self.weight, self.eps)

    def describe(self) -> str:
        """The arguments, as torch writes them."""
        return f"{self.dim}, eps={self.eps}"
