"""Stochastic depth: whole branches dropped."""

from __future__ import annotations

from torch import Tensor

from normwise.errors import ArgumentError, explain, unknown_name
from normwise.functional import check_rate
from normwise.layers._draws import Drops, drop

_MODES = ("row", "batch")


class StochasticDepth(Drops):
    """Zero a residual branch in training, for each sample or for the whole batch; also known as DropPath.

    ``y = x + layer(branch(x))``: a kept branch is scaled by ``1 / (1 − p)``. Any shape with the samples first. The
    arguments are torchvision's; timm's `DropPath(p, scale_by_keep)` is ``StochasticDepth(p, scale=…)``.

    Args:
        p: the probability that a branch is dropped.
        mode: "row" draws for each sample, "batch" once.
        scale: scale what is kept; without it evaluation sees a branch ``1 / (1 − p)`` as large as training does.

    Raises:
        ArgumentError: (a ValueError) p is no probability.
        UnknownNameError: the mode is not known.

    Source: Huang et al. 2016; Larsson, Maire & Shakhnarovich 2017 (drop-path).

    >>> import torch
    >>> StochasticDepth(0.5)(torch.ones(4, 2, 3, 3)).flatten(1).unique(dim=1).shape
    torch.Size([4, 1])
    """

    def __init__(self, p: float = 0.5, mode: str = "row", *, scale: bool = True) -> None:
        super().__init__(p)
        if mode not in _MODES:
            raise unknown_name("StochasticDepth", "mode", str(mode), _MODES)
        self.mode = mode
        self.scale = scale

    def disturb(self, input: Tensor) -> Tensor:
        """Drop samples, or all of them."""
        ones = [1] * input.dim()
        if self.mode == "row" and ones:
            ones[0] = input.shape[0]
        return drop(input, tuple(ones), self.p, scale=self.scale)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{super().extra_repr()}, mode={self.mode!r}" + ("" if self.scale else ", scale=False")


def stochastic_depth_rates(depth: int, p: float) -> tuple[float, ...]:
    """Rates that rise linearly with depth: the l-th of L branches is dropped with probability ``p · l / L``.

    Args:
        depth: L, the number of branches.
        p: the rate of the last one.

    Raises:
        ArgumentError: (a ValueError) p is no probability, or there is no branch.

    Source: Huang et al. 2016, section 3, where the input counts as the branch 0. timm starts at zero with the first
    branch instead.

    >>> stochastic_depth_rates(4, 0.2)
    (0.05, 0.1, 0.15, 0.2)
    """
    check_rate("stochastic_depth_rates", "p", p)
    if depth < 1:
        raise ArgumentError(
            explain("stochastic_depth_rates", "`depth` must be at least 1", f"{depth}", "count the branches")
        )
    return tuple(round(p * (index + 1) / depth, 15) for index in range(depth))
