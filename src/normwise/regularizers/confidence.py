"""The penalty on confident predictions."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from normwise.errors import ArgumentError, explain, unknown_name
from normwise.regularizers._blocks import wide

REDUCTIONS = ("mean", "sum", "none")


class ConfidencePenalty(nn.Module):
    """Penalise low entropy: ``−strength · H(p) = strength · Σ_k p_k · log p_k`` with ``p = softmax(logits)``.

    A term to add to the loss: 0 for a sure prediction, ``−strength · log K`` for an even one over K classes. It is the
    divergence from the even distribution in the direction in which `LabelSmoothing` has not.

    Args:
        strength: the factor β, finite and ≥ 0; Pereyra et al. found 0.1 to 1 to work.
        reduction: "mean" over all predictions, "sum" or "none".

    Called with logits (N, K, …) or (K,); the result is a scalar, or (N, …) under "none", in the logits' dtype, float32
    where that is a 16-bit one. A logit of −inf (a masked class) counts as p = 0. An empty batch gives 0.

    Raises:
        ArgumentError: `strength` is wrong.
        UnknownNameError: no reduction has this name.

    Source: Pereyra et al., "Regularizing neural networks by penalizing confident output distributions", 2017,
    equation 2.

    Example:
        >>> penalty = ConfidencePenalty(1.0)
        >>> round(penalty(torch.zeros(3, 2)).item(), 4)
        -0.6931
    """

    def __init__(self, strength: float = 0.1, *, reduction: Literal["mean", "sum", "none"] = "mean") -> None:
        super().__init__()
        if not (math.isfinite(strength) and strength >= 0):
            raise ArgumentError(
                explain("ConfidencePenalty", "`strength` must be finite and not negative", repr(strength))
            )
        if reduction not in REDUCTIONS:
            raise unknown_name("ConfidencePenalty", "reduction", reduction, REDUCTIONS)
        self.strength = float(strength)
        self.reduction = reduction

    def forward(self, logits: Tensor) -> Tensor:
        """The term for these logits."""
        axis = 0 if logits.dim() == 1 else 1
        log_p = torch.log_softmax(wide(logits), dim=axis)
        # p · log p is 0 at p = 0, where the product of its factors is not a number.
        log_p = torch.where(log_p == -math.inf, 0.0, log_p)
        terms = self.strength * (torch.softmax(wide(logits), dim=axis) * log_p).sum(axis)
        if self.reduction == "none":
            return terms
        total = terms.sum()
        return total / max(1, terms.numel()) if self.reduction == "mean" else total

    def extra_repr(self) -> str:
        """The strength."""
        return f"strength={self.strength}, reduction={self.reduction!r}"
