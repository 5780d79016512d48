"""The elastic-net penalty: a mixture of L1 and L2."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from normwise.errors import ArgumentError, explain
from normwise.regularizers._penalty import ElementPenalty
from normwise.regularizers._proximal import proximal_step_
from normwise.regularizers._selection import WEIGHTED


class Elastic(ElementPenalty):
    """Penalise absolute values and squares: ``strength · (l1_ratio · Σ|w| + (1 − l1_ratio)/2 · Σw²)``.

    `l1_ratio` means what it means in scikit-learn's ``ElasticNet``: 1 is `L1`, 0 is `L2`.

    Args:
        strength: the factor, finite and ≥ 0; per unit of loss.
        l1_ratio: the share of the absolute values, from 0 to 1.
        owners: classes of the modules whose weights are penalised; linear layers and convolutions.
        parameters: names of the parameters; biases are penalised only if ``"bias"`` is named.

    Shared weights count once. A weight-normalized weight is penalised by its effective value.

    Raises:
        ArgumentError: a wrong argument, or, when called, a model without such a weight.

    Source: Zou & Hastie, "Regularization and variable selection via the elastic net", 2005.

    Example:
        >>> import torch
        >>> layer = nn.Linear(2, 1)
        >>> _ = layer.weight.data.copy_(torch.tensor([[1.0, -3.0]]))
        >>> Elastic(1.0, l1_ratio=0.5)(layer).item()
        4.5
    """

    def __init__(
        self,
        strength: float,
        *,
        l1_ratio: float = 0.5,
        owners: Sequence[type[nn.Module]] = WEIGHTED,
        parameters: Sequence[str] = ("weight",),
    ) -> None:
        super().__init__(strength, owners=owners, parameters=parameters)
        if not 0 <= l1_ratio <= 1:
            raise ArgumentError(explain("Elastic", "`l1_ratio` must lie between 0 and 1", repr(l1_ratio)))
        self.l1_ratio = float(l1_ratio)

    def proximal_step_(self, model: nn.Module, lr: float) -> None:
        """Soft-threshold and shrink the weights in place.

        ``w ← sign(w) · max(|w| − lr·strength·l1_ratio, 0) / (1 + lr·strength·(1 − l1_ratio))``.

        Args:
            model: the network.
            lr: the learning rate of the optimizer's step before, finite and > 0.

        Raises:
            ArgumentError: `lr` is wrong, or a weight is under a parametrization.

        Source: Parikh & Boyd, "Proximal algorithms", 2014, section 6.5.3.
        """
        proximal_step_(self._pick(model), lr, *self._coefficients(), who="Elastic.proximal_step_")

    def _arguments(self) -> str:
        return f"{self.strength!r}, l1_ratio={self.l1_ratio!r}"

    def _coefficients(self) -> tuple[float, float]:
        return self.strength * self.l1_ratio, self.strength * (1 - self.l1_ratio)
