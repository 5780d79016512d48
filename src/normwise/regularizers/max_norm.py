"""The constraint that no output unit's weights are longer than a limit."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from normwise.errors import ArgumentError, explain
from normwise.regularizers._constraint import UnitConstraint
from normwise.regularizers._selection import WEIGHTED


class MaxNorm(UnitConstraint):
    """Keep each output unit's weights within a length: ``w ← w · min(1, limit / ‖w‖₂)``, by `project_`.

    A unit's weights are all that lead to one output, wherever its module stores them, so that there is no axis to
    give. In Keras's ``MaxNorm(max_value, axis)`` the axis is the one summed over: 0 for Dense, [0, 1, 2] for Conv2D
    (its default 0 there is not per unit), and [0, 1, 3] for Conv2DTranspose. Keras adds 1e-7 to ‖w‖; nothing is added
    here, and a unit of zeros stays.

    Args:
        limit: the greatest length, finite and > 0; Srivastava et al. found 3 to 4 to work.
        owners: classes of the modules whose weights are constrained; linear layers and convolutions. Of other modules
            the first axis is taken for output units.
        parameters: names of the parameters.

    Lengths are taken in the weights' dtype, float32 where that is a 16-bit one.

    Raises:
        ArgumentError: a wrong argument.

    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014, section 5.1.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, 4.0], [0.3, 0.4]]))
        >>> MaxNorm(2.5).project_(layer)
        >>> layer.weight.data
        tensor([[1.5000, 2.0000],
                [0.3000, 0.4000]])
    """

    def __init__(
        self,
        limit: float,
        *,
        owners: Sequence[type[nn.Module]] = WEIGHTED,
        parameters: Sequence[str] = ("weight",),
    ) -> None:
        super().__init__(owners=owners, parameters=parameters)
        if not (math.isfinite(limit) and limit > 0):
            raise ArgumentError(explain("MaxNorm", "`limit` must be finite and positive", repr(limit)))
        self.limit = float(limit)

    def _factors(self, lengths: Tensor) -> Tensor:
        is_long = lengths > self.limit
        return torch.where(is_long, self.limit / torch.where(is_long, lengths, 1.0), 1.0)

    def _arguments(self) -> str:
        return repr(self.limit)
