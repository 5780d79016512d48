"""The alpha of a dynamic tanh that takes the place of a normalization, fitted to data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from normwise.surgery._convert_moments import Pooled

_STEPS = 12
_PER_OCTAVE = 4


def fit_alpha(
    module: nn.Module,
    old: nn.Module,
    by_channel: Callable[[Tensor], Tensor],
    observe: Callable[[Callable[[Tensor, dict[str, Any]], None]], None],
) -> str:
    """Set alpha to what, with the best weight and bias per channel, is nearest to the old layer in least squares.

    Of values in steps of a quarter octave, from an eighth to eight times the inverse of the inputs' root mean square.
    """
    size = Pooled()
    observe(lambda x, after: size.add(x.detach().double().reshape(-1, 1)))
    scale = float((size.var + size.mean.square()).sqrt())
    alpha = module._parameters["alpha"]
    if alpha is None or not size.count or not 0.0 < scale < float("inf"):
        return "alpha as it was"
    candidates = [2.0 ** (step / _PER_OCTAVE) / scale for step in range(-_STEPS, _STEPS + 1)]
    joint = [_Joint() for _ in candidates]

    def visit(x: Tensor, after: dict[str, Any]) -> None:
        wanted, given = by_channel(old(x, **after)), by_channel(x)
        for value, sums in zip(candidates, joint, strict=True):
            sums.add(torch.tanh(value * given), wanted)

    observe(visit)
    explained = [sums.explained() for sums in joint]
    best = max(range(len(candidates)), key=explained.__getitem__)
    alpha.fill_(candidates[best])
    return f"alpha fitted, {float(alpha.detach()):.3g}"


class _Joint:
    """How much of the variance of one thing a multiple of another explains, channel by channel."""

    def __init__(self) -> None:
        self._sum, self._difference, self._one, self._other = Pooled(), Pooled(), Pooled(), Pooled()

    def add(self, one: Tensor, other: Tensor) -> None:
        for moments, part in (
            (self._sum, one + other),
            (self._difference, one - other),
            (self._one, one),
            (self._other, other),
        ):
            moments.add(part)

    def explained(self) -> float:
        """Between 0 and 1, over all channels."""
        covariance = (self._sum.var - self._difference.var) / 4
        share = covariance.square() / self._one.var.clamp_min(1e-300)
        return float(share.sum() / self._other.var.sum().clamp_min(1e-300))
