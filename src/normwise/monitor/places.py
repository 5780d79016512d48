"""Where a monitor looks: weighted layers, and batch normalizations with running statistics.

Axes: R rows, which are samples or samples × positions; C channels, which are units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from normwise.errors import ArgumentError, explain
from normwise.monitor.observe import _weight
from normwise.monitor.refuse import WHO
from normwise.monitor.signals import WEIGHTED
from normwise.surgery._convert_kinds import kind_of

MOST_ENTRIES = 2**16
"""Entries of an activation that are looked at: the cost of a layer is bounded, and means are right to .4 % of σ."""

_MOST_WEIGHTS = 2**16  # of a weight's entries in an update: its ratio is then right to about 1 %
_INVARIANT = frozenset(
    {"batch", "masked", "sync", "ghost", "batch_renorm", "group", "instance", "layer", "rms"}
)
_RUNNING = frozenset({"batch", "masked", "sync", "ghost", "batch_renorm", "frozen"})


@dataclass(frozen=True, eq=False)
class Place:
    """A weighted layer.

    Attributes:
        name: dotted, in the model.
        module: the layer.
        weight: what is trained of its weight; None where that is not a parameter.
        group: of the optimizer, that holds the weight; None where none does.
        units: output channels.
        axis: of the channels in an output, from the end.
    """

    name: str
    module: nn.Module
    weight: Tensor | None
    group: dict[str, Any] | None
    units: int
    axis: int


def places_of(model: nn.Module, optimizer: Optimizer) -> tuple[Place, ...]:
    """The weighted layers, as they are defined.

    Raises:
        ArgumentError: there are none.
    """
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    found = []
    for name, module in model.named_modules():
        if isinstance(module, WEIGHTED):
            weight = _weight(module)
            linear = isinstance(module, nn.Linear)
            units = module.out_features if isinstance(module, nn.Linear) else module.out_channels
            axis = -1 if linear else -1 - len(module.kernel_size)  # type: ignore[arg-type]
            found.append(Place(name, module, weight, groups.get(id(weight)), int(units), axis))
    if not found:
        must = "`model` must have linear layers or convolutions"
        raise ArgumentError(
            explain(WHO, must, f"a {type(model).__name__} without", "monitor the whole model")
        )
    return tuple(found)


def makes_invariant(module: nn.Module) -> bool:
    """Whether the scale of what a norm gets has no effect, up to its eps."""
    kind = kind_of(module)
    return kind is not None and kind[0] in _INVARIANT and (module.training or kind[0] not in _RUNNING)


def has_running(module: nn.Module) -> bool:
    """Whether a batch normalization keeps running statistics of its channels."""
    kind = kind_of(module)
    return kind is not None and kind[0] in _RUNNING and isinstance(module.running_mean, Tensor)


def channel_axis(place: Place, values: Tensor) -> int | None:
    """The axis of the layer's channels in what became of its output; None where it cannot be told.

    >>> place = Place("fc", nn.Linear(2, 3), None, None, 3, -1)
    >>> import torch
    >>> channel_axis(place, torch.zeros(7, 3)), channel_axis(place, torch.zeros(7, 3, 5))
    (-1, -2)
    """
    for axis in (place.axis, -1, 1 - values.dim()):
        if values.dim() >= -axis > 0 and values.shape[axis] == place.units:
            return axis
    return None


def rows(values: Tensor, axis: int) -> Tensor:
    """(…, C, …) → a copy of at most `MOST_ENTRIES` in float32 as (R, C), evenly over positions first, then samples.

    >>> import torch
    >>> rows(torch.zeros(4, 3, 8, 8), -3).shape
    torch.Size([256, 3])
    """
    values = values.detach()
    places = [dim for dim in range(1, values.dim()) if dim != axis % values.dim()]
    excess = values.numel() / MOST_ENTRIES
    if excess > 1 and places:
        step = math.ceil(excess ** (1 / len(places)))
        kept = [slice(min(step, size) // 2, None, step) for size in values.shape]
        values = values[tuple(kept[dim] if dim in places else slice(None) for dim in range(values.dim()))]
    flat = values.movedim(axis, -1).reshape(-1, values.shape[axis])
    step = max(1, math.ceil(flat.numel() / MOST_ENTRIES))
    return flat[::step].float().clone()


def sample(weight: Tensor) -> Tensor:
    """A copy of at most about 65,536 entries of a weight in float32, the same ones each time.

    The step through them has no factor in common with a row, so that all columns have their part.
    """
    flat = weight.detach().reshape(-1)
    step = math.ceil(flat.numel() / _MOST_WEIGHTS)
    row = flat.numel() // max(1, weight.shape[0]) if weight.dim() else 1
    while step > 1 and math.gcd(step, row) > 1:
        step += 1
    return flat[:: max(1, step)].float().clone()
