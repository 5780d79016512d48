"""Cross-entropy against targets that leave some probability to every class."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

from normwise.errors import ArgumentError, explain


class LabelSmoothing(nn.CrossEntropyLoss):
    """Cross-entropy against ``(1 − smoothing) · target + smoothing / K``, K classes.

    torch's ``CrossEntropyLoss(label_smoothing=)``, with smoothing as the first argument and on; only where nothing is
    left to average (an empty batch, every target ignored, every class of weight 0) the mean is 0 with gradients of
    0, and not NaN.

    Args:
        smoothing: the probability that is spread over all classes, the right one among them; from 0 to 1.
        weight: (K,), a factor for each class, or None.
        ignore_index: targets of this class do not count; of class indices alone, as in torch.
        reduction: "mean" (over the weights of the targets, as torch), "sum" or "none".

    Called with logits (N, K, …) or (K,) and targets that are class indices (N, …) or probabilities (N, K, …).

    Raises:
        ArgumentError: `smoothing` is out of its bounds.

    Source: Szegedy et al., "Rethinking the Inception architecture for computer vision", 2016, section 7.

    Example:
        >>> loss = LabelSmoothing(0.1)
        >>> round(loss(torch.tensor([[0.0, 0.0]]), torch.tensor([1])).item(), 4)
        0.6931
    """

    def __init__(
        self,
        smoothing: float = 0.1,
        *,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> None:
        if not 0 <= smoothing <= 1:
            raise ArgumentError(
                explain("LabelSmoothing", "`smoothing` must lie between 0 and 1", repr(smoothing))
            )
        super().__init__(
            weight, ignore_index=ignore_index, reduction=reduction, label_smoothing=float(smoothing)
        )

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss."""
        if self.reduction != "mean":
            return super().forward(input, target)
        total = F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        return total / self._count(input, target)

    def extra_repr(self) -> str:
        """The smoothing."""
        return f"smoothing={self.label_smoothing}"

    def _count(self, input: Tensor, target: Tensor) -> Tensor | int:
        """What torch's mean divides by, and 1 where that is 0."""
        if target.is_floating_point():
            classes = input.shape[0 if input.dim() == 1 else 1]
            return max(1, input.numel() // max(1, classes))
        counts = target != self.ignore_index
        if self.weight is None:
            return counts.sum().clamp(min=1)
        weights = self.weight[torch.where(counts, target, 0)] * counts
        total = weights.sum()
        return torch.where(total > 0, total, 1.0)
