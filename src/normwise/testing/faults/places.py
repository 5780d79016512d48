"""Where in a network a fault goes: names of its layers, and modules put in or taken out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

from torch import nn

from normwise.monitor.signals import WEIGHTED
from normwise.testing.faults.networks import ACTIVATIONS

_ACTIVATION = tuple(type(make()) for make in ACTIVATIONS.values())
_T = TypeVar("_T")
_NORM = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def weighted(model: nn.Module) -> list[str]:
    """Linear layers and convolutions, in order.

    >>> weighted(nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1)))
    ['0', '2']
    """
    return [name for name, module in model.named_modules() if isinstance(module, WEIGHTED)]


def norms(model: nn.Module) -> list[str]:
    """Normalizations, in order."""
    return [name for name, module in model.named_modules() if isinstance(module, _NORM)]


def activated(model: nn.Module) -> list[tuple[str, str]]:
    """Weighted layers with the activation that follows in the same `nn.Sequential`.

    >>> activated(nn.Sequential(nn.Linear(1, 2), nn.BatchNorm1d(2), nn.ReLU(), nn.Linear(2, 1)))
    [('0', '2')]
    """
    pairs = []
    for path, module in model.named_modules():
        if not isinstance(module, nn.Sequential):
            continue
        layer = ""
        for child, part in module.named_children():
            name = f"{path}.{child}".lstrip(".")
            if isinstance(part, WEIGHTED):
                layer = name
            elif layer and isinstance(part, _ACTIVATION):
                pairs.append((layer, name))
                layer = ""
    return pairs


def normed(model: nn.Module) -> list[tuple[str, str]]:
    """Weighted layers with the norm right behind them in the same `nn.Sequential`."""
    pairs = []
    for path, module in model.named_modules():
        if isinstance(module, nn.Sequential):
            children = [(f"{path}.{child}".lstrip("."), part) for child, part in module.named_children()]
            for (name, part), (after, follower) in pairwise(children):
                if isinstance(part, WEIGHTED) and isinstance(follower, _NORM):
                    pairs.append((name, after))
    return pairs


def middle(found: Sequence[_T]) -> _T:
    """The one in the middle."""
    return found[len(found) // 2]


def insert(model: nn.Module, name: str, new: str, module: nn.Module, *, after: bool = True) -> str:
    """Put a module behind (or before) another of the same `nn.Sequential`; its full name.

    >>> model = nn.Sequential(nn.Linear(1, 2), nn.ReLU())
    >>> insert(model, "0", "norm", nn.BatchNorm1d(2)), [child for child, _ in model.named_children()]
    ('norm', ['0', 'norm', '1'])
    """
    path, _, child = name.rpartition(".")
    parent = model.get_submodule(path)
    children = list(parent.named_children())
    at = [known for known, _ in children].index(child) + after
    children.insert(at, (new, module))
    _rebuild(parent, children)
    return f"{path}.{new}".lstrip(".")


def remove(model: nn.Module, name: str) -> None:
    """Take a module out of its `nn.Sequential`."""
    path, _, child = name.rpartition(".")
    parent = model.get_submodule(path)
    _rebuild(parent, [(known, module) for known, module in parent.named_children() if known != child])


def _rebuild(parent: nn.Module, children: Sequence[tuple[str, nn.Module]]) -> None:
    for known, _ in list(parent.named_children()):
        delattr(parent, known)
    for known, module in children:
        parent.add_module(known, module)
