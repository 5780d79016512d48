"""Norms that a layer holds inside, as `insert` puts them there: folded without a look at the graph."""

from __future__ import annotations

from torch import nn

from normwise.layers.normalized import NORMALIZED, Normalized
from normwise.surgery._fold_known import channel_map, leftover, norm_obstacle
from normwise.surgery._fold_weights import UnfoldableError, fold_behind

_PLAIN = {inside: plain for plain, inside in NORMALIZED.items()}


def fold_inside_(model: nn.Module) -> dict[str, str | None]:
    """Fold the norm of every layer of `normwise.layers.normalized`, in place; the layer becomes torch's.

    Returns:
        Name of the norm → None where it is folded, or why it stays.
    """
    found: dict[str, str | None] = {}
    for name, module in list(model.named_modules()):
        if isinstance(module, Normalized) and type(module) in _PLAIN:
            plain = _PLAIN[type(module)]
            found[f"{name}.norm" if name else "norm"] = _fold(module, plain)
    return found


def _fold(layer: Normalized, plain: type[nn.Module]) -> str | None:
    norm = layer.norm
    obstacle = norm_obstacle(norm)
    if obstacle is None and leftover(norm) is not None:
        obstacle = "it holds an activation, for which the layer has no place"
    if obstacle is not None:
        return obstacle
    scale, shift = channel_map(norm)
    inside = type(layer)
    same: nn.Module = layer
    same.__class__ = plain
    try:
        fold_behind(same, scale, shift)
    except UnfoldableError as error:
        same.__class__ = inside
        return str(error)
    del same._modules["norm"]
    return None
