"""Moments of each channel, for statistics that several batches or devices share."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from normwise.functional._channels import check_channels, check_weights
from normwise.kernels import aten
from normwise.kernels.cpu.moments import attempt_moments
from normwise.kernels.registry import note_aten, requested


@dataclass(frozen=True, slots=True)
class Moments:
    """What two parts must tell each other to get the moments of the whole, all float64.

    Attributes:
        count: the number of values, or the sum of their weights; no dimensions.
        mean: (C,).
        squares: (C,), the sum of squared deviations from the mean; divided by `count` it is the biased variance.

    >>> import torch
    >>> left, right = moments(torch.tensor([[1.0], [2.0]])), moments(torch.tensor([[6.0]]))
    >>> whole = left.merged(right)
    >>> whole.mean.item(), whole.squares.item()
    (3.0, 14.0)
    """

    count: Tensor
    mean: Tensor
    squares: Tensor

    def merged(self, other: Moments) -> Moments:
        """The moments of both parts together (Chan, Golub & LeVeque 1983); an empty part changes nothing."""
        count = self.count + other.count
        share = other.count / count.clamp_min(1e-300)
        apart = other.mean - self.mean
        squares = self.squares + other.squares + apart.square() * self.count * share
        return Moments(count, self.mean + apart * share, squares)


def moments(input: Tensor, sample_weight: Tensor | None = None, *, backend: str | None = None) -> Moments:
    """Count, mean and sum of squared deviations of each channel, over samples and positions.

    Nothing is differentiable here.

    Args:
        input: (N, C, *).
        sample_weight: (N, *) or (N,), the part that an element has; 0 leaves it out, whatever it is.
        backend: one of `normwise.kernels.registry.BACKENDS`; None for the one in force.

    Raises:
        ArgumentError: (a ValueError) no axis of channels, or weights of another shape.
        BackendError: the back end was asked for by name and cannot run.

    >>> import torch
    >>> moments(torch.tensor([[1.0], [3.0]])).squares
    tensor([2.], dtype=torch.float64)
    """
    check_channels("moments", input, None)
    if sample_weight is not None:
        sample_weight = check_weights("moments", input, sample_weight)
    backend = requested(backend)
    if backend == "aten":
        note_aten("moments", input.shape)
    else:
        found = attempt_moments(backend, input, sample_weight)
        if found is not None:
            return Moments(*found)
    return Moments(*aten.moments(input, sample_weight))
