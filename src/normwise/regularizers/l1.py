"""The L1 penalty, whose proximal step reaches exact zeros."""

from __future__ import annotations

from torch import nn

from normwise.regularizers._penalty import ElementPenalty
from normwise.regularizers._proximal import proximal_step_


class L1(ElementPenalty):
    """Penalise the absolute values of weights: ``strength · Σ|w|``.

    Added to the loss, its gradient is ``strength · sign(w)`` with 0 at 0: a subgradient, which makes weights
    small and, in floating point, practically never exactly zero. For zeros, leave it out of the loss and call
    `proximal_step_` after the optimizer's step.

    Args:
        strength: the factor, finite and ≥ 0; per unit of loss.
        owners: classes of the modules whose weights are penalised; linear layers and convolutions, so that
            norms never are unless named.
        parameters: names of the parameters; biases are penalised only if ``"bias"`` is named.

    Shared weights count once. A weight-normalized weight is penalised by its effective value.

    Raises:
        ArgumentError: a wrong argument, or, when called, a model without such a weight.

    Source: Tibshirani, "Regression shrinkage and selection via the lasso", 1996.

    Example:
        >>> import torch
        >>> layer = nn.Linear(2, 1)
        >>> _ = layer.weight.data.copy_(torch.tensor([[1.0, -3.0]]))
        >>> L1(0.5)(layer).item()
        2.0
        >>> L1(0.5).proximal_step_(layer, lr=2.0)
        >>> layer.weight.data
        tensor([[ 0., -2.]])
    """

    def proximal_step_(self, model: nn.Module, lr: float) -> None:
        """Soft-threshold the weights in place: ``w ← sign(w) · max(|w| − lr · strength, 0)``.

        With plain gradient descent of the same `lr` the two steps together are proximal gradient descent
        (ISTA) on loss + penalty; with other optimizers it is a heuristic of that form. Frozen weights stay.

        Args:
            model: the network.
            lr: the learning rate of the optimizer's step before, finite and > 0.

        Raises:
            ArgumentError: `lr` is wrong, or a weight is under a parametrization: setting its effective value
                would have to change the parts it is computed from, where zeros do not survive the next step.

        Source: Parikh & Boyd, "Proximal algorithms", 2014, section 6.5.2.
        """
        proximal_step_(
            self._pick(model), lr, *self._coefficients(), who=f"{type(self).__name__}.proximal_step_"
        )

    def _coefficients(self) -> tuple[float, float]:
        return self.strength, 0.0
