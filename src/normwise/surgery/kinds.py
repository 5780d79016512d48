"""Which normalizations stand in a model."""

from __future__ import annotations

from torch import nn

from normwise.surgery._convert_foreign import read_foreign
from normwise.surgery._convert_kinds import kind_of


def kinds_in(model: nn.Module) -> tuple[str, ...]:
    """The names of a model's normalizations, as `convert` has them, each once, in the model's order.

    >>> kinds_in(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.LayerNorm(8)))
    ('batch', 'layer')
    """
    found: dict[str, None] = {}
    for module in model.modules():
        known = kind_of(module)
        if known is None and not isinstance(reading := read_foreign(module), str):
            known = reading.kind, reading.rank
        if known is not None:
            found[known[0]] = None
    return tuple(found)
