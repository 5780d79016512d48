"""What one writes in torch where normwise has a layer, and torch's own modules have none."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normwise.regularizers import L1, L2


class OverChannels(nn.Module):
    """A norm over the trailing axis, applied to the channels of (N, C, *): moved last, normalized, moved back.

    The result has the input's memory format, as what follows in a network expects it.
    """

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Normalize over axis 1."""
        y: Tensor = self.norm(x.movedim(1, -1)).movedim(-1, 1)
        return y.contiguous() if x.is_contiguous() else y


class OverChannelsWrittenOut(nn.Module):
    """Layer normalization over the channels of (N, C, *) as its formula, as much published code has it."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalize over axis 1."""
        centred = x - x.mean(1, keepdim=True)
        hat = centred / torch.sqrt(centred.square().mean(1, keepdim=True) + self.eps)
        shape = (-1, *(1,) * (x.dim() - 2))
        return self.weight.view(shape) * hat + self.bias.view(shape)


class AddReLU(nn.Module):
    """``relu(norm(x) + residual)``, the end of a residual block."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.act = nn.ReLU()

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """Normalize, add, rectify."""
        y: Tensor = self.act(self.norm(x) + residual)
        return y


class Weights(nn.Sequential):
    """Weights alone: `count` linear layers without bias, (out, in) each."""

    def __init__(self, count: int, rows: int, columns: int) -> None:
        super().__init__(*(nn.Linear(columns, rows, bias=False) for _ in range(count)))


class SumOfPenalties(nn.Module):
    """The penalty as it is written by hand: a sum over the parameters; `squares` makes it L2, with its half."""

    def __init__(self, weights: nn.Module, strength: float, *, squares: bool) -> None:
        super().__init__()
        self.weights = weights
        self.strength = strength
        self.squares = squares

    def forward(self) -> Tensor:
        """Return the scalar to add to the loss."""
        sums = [w.square().sum() if self.squares else w.abs().sum() for w in self.weights.parameters()]
        total = sums[0]
        for term in sums[1:]:
            total = total + term
        return (self.strength / 2 if self.squares else self.strength) * total


class PenaltyOf(nn.Module):
    """normwise's penalty as a module without inputs."""

    def __init__(self, weights: nn.Module, penalty: L1 | L2) -> None:
        super().__init__()
        self.weights = weights
        self.penalty = penalty

    def forward(self) -> Tensor:
        """Return the scalar to add to the loss."""
        return self.penalty(self.weights)
