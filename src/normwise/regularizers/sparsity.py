"""How many weights are exactly zero."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from normwise.regularizers._selection import WEIGHTED, selection


def sparsity(
    model: nn.Module,
    *,
    owners: Sequence[type[nn.Module]] = WEIGHTED,
    parameters: Sequence[str] = ("weight",),
) -> float:
    """Return the fraction of a model's weights that are exactly zero.

    ``sparsity = #{w = 0} / #w`` over the parameters named in `parameters` of the modules that are instances
    of `owners` (linear layers and convolutions), shared ones once, parametrized ones by effective value.

    Args:
        model: the network.
        owners: classes of the modules whose parameters count.
        parameters: names of the parameters that count.

    Returns:
        A number from 0 to 1.

    Raises:
        ArgumentError: the model has no such weight.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> _ = layer.weight.data.copy_(torch.tensor([[0.0, 1.0], [2.0, 3.0]]))
        >>> sparsity(layer)
        0.25
    """
    picks = selection("sparsity", owners, parameters).pick(model, "sparsity")
    return zero_fraction([pick.tensor for pick in picks])


def zero_fraction(tensors: Sequence[Tensor]) -> float:
    """Return the fraction of exact zeros among all elements of `tensors`; 0 where there are none."""
    with torch.no_grad():
        count = sum(t.numel() for t in tensors)
        nonzero = sum(int(torch.count_nonzero(t)) for t in tensors)
    return 1 - nonzero / count if count else 0.0
