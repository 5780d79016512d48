"""The learned and the tracked state of the layers that do not subclass torch's."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from normwise.errors import ArgumentError, explain

Device = torch.device | str | int | None
DType = torch.dtype | None


class Affine(nn.Module):
    """A module with an optional weight of ones and an optional bias of zeros, under torch's names.

    Attributes:
        weight: of the given shape, or None.
        bias: of the given shape, or None; only beside a weight.
    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(
        self, shape: tuple[int, ...], *, affine: bool, bias: bool, device: Device, dtype: DType
    ) -> None:
        super().__init__()
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            values = nn.Parameter(torch.empty(shape, device=device, dtype=dtype)) if wanted else None
            self.register_parameter(name, values)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the weight to one and the bias to zero."""
        if self.weight is not None:
            nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Ranked(nn.Module):
    """A module that takes inputs of certain numbers of axes."""

    ranks: ClassVar[tuple[int, ...]]

    def check_rank(self, input: Tensor) -> None:
        """Raise unless the input has one of the numbers of axes."""
        if input.dim() not in self.ranks:
            raise ArgumentError(
                explain(
                    type(self).__name__,
                    f"expected {' or '.join(f'{rank}D' for rank in self.ranks)} input",
                    f"{input.dim()}D input of size {tuple(input.shape)}",
                )
            )
