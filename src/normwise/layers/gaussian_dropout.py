"""Gaussian noise, multiplied and added."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from normwise.errors import ArgumentError, explain
from normwise.layers._draws import Draws, Drops


class GaussianDropout(Drops):
    """Multiply elements by normal noise of mean 1 in training.

    ``y = x · n``, ``n ~ N(1, p / (1 − p))``: mean and variance of `Dropout` at the same rate, and no element is lost.
    Any shape; the noise has the input's dtype.

    Args:
        p: the rate of the dropout with the same variance, below 1, where that is infinite.

    Raises:
        ArgumentError: (a ValueError) p is no probability, or 1.

    Source: Srivastava et al. 2014, section 10.

    >>> GaussianDropout(0.5).eval()(torch.ones(3))
    tensor([1., 1., 1.])
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)
        if p == 1.0:
            raise ArgumentError(
                explain(
                    "GaussianDropout", "`p` must be below 1, where the noise is infinite", "1", "use Dropout"
                )
            )

    def disturb(self, input: Tensor) -> Tensor:
        """Multiply by the noise."""
        return input * (torch.randn_like(input) * math.sqrt(self.p / (1.0 - self.p)) + 1.0)


class GaussianNoise(Draws):
    """Add normal noise to elements in training.

    ``y = x + std · n``, ``n ~ N(0, 1)``. Any shape; the noise has the input's dtype.

    Args:
        std: the noise's standard deviation, in units of the input.

    Raises:
        ArgumentError: (a ValueError) std is negative or not finite.

    Source: Bishop 1995.

    >>> GaussianNoise(0.1).eval()(torch.ones(3))
    tensor([1., 1., 1.])
    """

    def __init__(self, std: float = 0.1) -> None:
        super().__init__()
        if not 0.0 <= std < math.inf:
            raise ArgumentError(
                explain("GaussianNoise", "`std` must be finite and not negative", f"{std}", "0 adds nothing")
            )
        self.std = std

    def disturb(self, input: Tensor) -> Tensor:
        """Add the noise."""
        return input if self.std == 0.0 else input + torch.randn_like(input) * self.std

    def extra_repr(self) -> str:
        """The standard deviation."""
        return f"std={self.std}"
