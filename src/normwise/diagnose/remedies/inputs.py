"""Inputs with mean 0 and standard deviation 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from normwise.diagnose.subject import Setup
from normwise.errors import ArgumentError, explain


@dataclass(frozen=True, eq=False)
class Standardisation:
    """``(x − mean) / std``, of each column of a table, or of each channel (axis 1) of anything else.

    Attributes:
        mean, std: of the training inputs, to be broadcast; std is 1 where they are constant.
    """

    mean: Tensor
    std: Tensor

    def __call__(self, inputs: Tensor) -> Tensor:
        """Of any part."""
        return (inputs - self.mean) / self.std


def standardisation(training: Tensor) -> Standardisation:
    """Mean and standard deviation of the finite values of training inputs (N, C, *S), in float64.

    Raises:
        ArgumentError: they are no real numbers.

    >>> change = standardisation(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    >>> change(torch.tensor([[2.0, 6.0]]))
    tensor([[0., 1.]])
    """
    if not training.is_floating_point():
        must = "inputs must be numbers to be standardised"
        raise ArgumentError(
            explain("standardise_inputs", must, f"{training.dtype}", "leave indices as they are")
        )
    over = [axis for axis in range(training.dim()) if axis != 1]
    known = torch.isfinite(training)
    count = known.sum(dim=over, keepdim=True).clamp_min(1)
    values = torch.where(known, training, 0).double()
    mean = values.sum(dim=over, keepdim=True) / count
    centred = torch.where(known, values - mean, 0)
    std = (centred.square().sum(dim=over, keepdim=True) / count).sqrt()
    constant = std <= 1e-6 * (1 + mean.abs())
    return Standardisation(mean.to(training), torch.where(constant, 1, std).to(training))


def standardise_inputs(setup: Setup) -> Setup:
    """Standardise inputs by their training part, after what changes them already."""
    before = setup.transform
    return replace(setup, transform=standardisation if before is None else _Chain(before))


@dataclass(frozen=True, eq=False)
class _Chain:
    """A transform, and the standardisation of what it gives."""

    before: Callable[[Tensor], Callable[[Tensor], Tensor]]

    def __call__(self, training: Tensor) -> Callable[[Tensor], Tensor]:
        first = self.before(training)
        second = standardisation(first(training))
        return lambda inputs: second(first(inputs))
