"""The constraint that no weight is negative."""

from __future__ import annotations

from normwise.regularizers._constraint import Constraint
from normwise.regularizers._selection import Pick


class NonNegative(Constraint):
    """Keep weights from being negative: ``w ← max(w, 0)``, by `project_`.

    Args:
        owners: classes of the modules whose weights are constrained; linear layers and convolutions.
        parameters: names of the parameters.

    Raises:
        ArgumentError: a wrong argument.

    Source: Chorowski & Zurada, "Learning understandable neural networks with nonnegative weight constraints", 2015.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(2, 1)
        >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, -4.0]]))
        >>> NonNegative().project_(layer)
        >>> layer.weight.data
        tensor([[3., 0.]])
    """

    def _set_(self, pick: Pick) -> None:
        pick.tensor.clamp_(min=0)
