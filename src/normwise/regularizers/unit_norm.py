"""The constraint that every output unit's weights have length one."""

from __future__ import annotations

import torch
from torch import Tensor

from normwise.regularizers._constraint import UnitConstraint


class UnitNorm(UnitConstraint):
    """Give each output unit's weights length one: ``w ← w / ‖w‖₂``, by `project_`.

    A unit's weights are all that lead to one output; see `MaxNorm` for Keras's axes. A unit of zeros stays: it has no
    direction. Keras adds 1e-7 to ‖w‖; nothing is added here.

    Args:
        owners: classes of the modules whose weights are constrained; linear layers and convolutions.
        parameters: names of the parameters.

    Lengths are taken in the weights' dtype, float32 where that is a 16-bit one.

    Raises:
        ArgumentError: a wrong argument.

    Source: Keras's ``UnitNorm``; the sphere that Salimans & Kingma, "Weight normalization", 2016, divide by instead.

    Example:
        >>> layer = torch.nn.Linear(2, 1)
        >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
        >>> UnitNorm().project_(layer)
        >>> layer.weight.data
        tensor([[0.6000, 0.8000]])
    """

    def _factors(self, lengths: Tensor) -> Tensor:
        is_zero = lengths == 0
        return torch.where(is_zero, 1.0, 1 / torch.where(is_zero, 1.0, lengths))
