"""The proximal step of ``l1 · |w| + l2/2 · w²``: soft-thresholding, then shrinking."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from normwise.errors import ArgumentError, explain
from normwise.kernels.cpu import penalty
from normwise.regularizers._selection import Pick, stored


@torch.no_grad()
def proximal_step_(picks: Sequence[Pick], lr: float, l1: float, l2: float, who: str) -> None:
    """Replace every trainable weight by ``argmin_u (u − w)²/(2·lr) + l1·|u| + l2/2·u²``, in place."""
    weights = [pick.tensor for pick in steppable(picks, lr, who)]
    if not weights:
        return
    if penalty.takes("proximal_step", weights):
        penalty.proximal_(weights, lr * l1, lr * l2)
        return
    # w − clamp(w, −t, t) is exactly zero wherever |w| ≤ t.
    cut = torch._foreach_clamp_min(weights, -lr * l1)
    torch._foreach_clamp_max_(cut, lr * l1)
    torch._foreach_sub_(weights, cut)
    if l2:
        torch._foreach_div_(weights, 1 + lr * l2)


def steppable(picks: Sequence[Pick], lr: float, who: str) -> list[Pick]:
    """Return the weights that a proximal step may set.

    Raises:
        ArgumentError: `lr` is wrong, or a weight is computed from other parameters.
    """
    if not (math.isfinite(lr) and lr > 0):
        raise ArgumentError(explain(who, "`lr` must be finite and positive", repr(lr)))
    return stored(
        picks,
        who,
        "for only those can be set to exact zeros",
        "add the penalty to the loss instead, or remove the parametrization",
    )
