"""A regression that is trained on targets with mean 0 and standard deviation 1."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from normwise.diagnose.subject import Loss, Setup
from normwise.errors import ArgumentError, explain


def standardise_targets(setup: Setup, mean: float, std: float) -> Setup:
    """Train on ``(y − mean) / std``; the model gives ``std · output + mean``, in the units of y.

    Raises:
        ArgumentError: `mean` is not finite, or `std` is not finite and positive.
    """
    if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
        must = "`mean` must be finite, and `std` finite and above 0"
        raise ArgumentError(explain("standardise_targets", must, f"{mean:g} and {std:g}"))
    setup.model.register_forward_hook(_Rescaled(mean, std))
    return replace(setup, loss=_Standardised(setup.loss, mean, std))


@dataclass(frozen=True)
class _Rescaled:
    """A forward hook."""

    mean: float
    std: float

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        return output * self.std + self.mean


@dataclass(frozen=True)
class _Standardised:
    """A loss between numbers that are standardised before."""

    loss: Loss
    mean: float
    std: float

    def __call__(self, output: Any, targets: Tensor) -> Tensor:
        return self.loss((output - self.mean) / self.std, (targets - self.mean) / self.std)
