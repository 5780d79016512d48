"""What the layers share that change their input at random while a network trains."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normwise.functional import check_rate
from normwise.layers._trace import as_leaf, is_traced


class Draws(nn.Module):
    """A layer that draws in training, from torch's default generator, and is the identity in evaluation.

    Attributes:
        draws: draw in evaluation, too; `monte_carlo` sets it for a while.
    """

    draws: bool = False

    @property
    def drawing(self) -> bool:
        """Whether the next call draws."""
        return self.training or self.draws

    def disturb(self, input: Tensor) -> Tensor:
        """The input, changed at random."""
        raise NotImplementedError(f"{type(self).__name__} must define `disturb`")

    def forward(self, input: Tensor) -> Tensor:
        """Draw in training; else return the input."""
        if is_traced(input):
            output: Tensor = as_leaf(self, input)
            return output
        return self.disturb(input) if self.drawing else input


class Drops(Draws):
    """A layer that draws at a rate.

    Attributes:
        p: the probability to drop.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        check_rate(type(self).__name__, "p", p)
        self.p = p

    def forward(self, input: Tensor) -> Tensor:
        """Draw in training, unless the rate is zero; else return the input."""
        if self.p == 0.0 and not is_traced(input):
            return input
        return super().forward(input)

    def extra_repr(self) -> str:
        """The rate."""
        return f"p={self.p}"


def drop(input: Tensor, shape: tuple[int, ...], p: float, *, scale: bool = True) -> Tensor:
    """Multiply by a mask of the given shape, zero with probability p, else ``1 / (1 − p)``, or 1 where not scaled."""
    if p == 1.0:
        return input * 0.0
    kept = input * keeps(shape, p, input.device)
    # Apart from the mask: a narrow dtype would round the factor, and with it all that is kept.
    return kept * (1.0 / (1.0 - p)) if scale else kept


def keeps(shape: tuple[int, ...], p: float, device: torch.device) -> Tensor:
    """A mask of booleans, false with probability p; under `vmap` each of the batched calls draws as it was told to."""
    return torch.rand(shape, dtype=torch.float32, device=device) < 1.0 - p
