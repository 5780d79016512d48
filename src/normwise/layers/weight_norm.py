"""Weight normalization as a parametrization of a module's weight."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from normwise.errors import ArgumentError, explain
from normwise.functional import weight_norm as weight_of
from normwise.layers._parametrize import (
    Axis,
    ModuleT,
    PerUnit,
    output_axis,
    own_class,
    parameter_of,
    register,
    require_none,
)


class WeightNorm(PerUnit):
    """The parametrization ``weight = g · v / ‖v‖``, one length g per output unit.

    `parametrizations.weight.original0` is g and `original1` is v, as in torch. A direction of zero length
    gives a zero weight and finite gradients.

    Args:
        dim: the axis that keeps a length of its own per index; None takes one length for the whole tensor.
        groups: for a transposed convolution with groups, whose weight is (C_in, C_out / groups, *): the input
            axis is split into the groups, and g has the shape (groups, 1, C_out / groups, 1, …).

    >>> layer = weight_norm(nn.Linear(2, 3))
    >>> layer.parametrizations.weight.original0.shape
    torch.Size([3, 1])
    """

    def forward(self, gain: Tensor, direction: Tensor) -> Tensor:
        """The weight of the given lengths and directions."""
        split = self.split(direction)
        weight = weight_of(gain, split, self.incoming(split))
        return weight if self.groups == 1 else weight.reshape(direction.shape)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The lengths and directions of a weight."""
        split = self.split(weight)
        return torch.linalg.vector_norm(split, dim=self.incoming(split), keepdim=True), weight


def weight_norm(module: ModuleT, name: str = "weight", dim: Axis | None = "output") -> ModuleT:
    """Give a module's weight a length of its own per output unit, in place, and return the module.

    ``w = g · v / ‖v‖``; the weight's value does not change. Unlike torch's, the axis follows the module: 0
    for Linear and convolutions, 1 for transposed convolutions (group by group), and a zero vector gives no
    NaN. Checkpoints of torch's `parametrizations.weight_norm` and of its older `weight_g`, `weight_v` form
    load where the axis is the same.

    Args:
        module: Linear, any convolution, or a module of your own with a `dim`.
        name: the parameter.
        dim: the axis of output units; "output" finds it; None takes one length for the whole tensor.

    Raises:
        ArgumentError: (a ValueError) there is no such parameter, it is normalized already, or the axis is not
            known.

    Source: Salimans & Kingma 2016.

    >>> layer = weight_norm(nn.ConvTranspose2d(4, 6, 3))
    >>> layer.parametrizations.weight.original0.shape
    torch.Size([1, 6, 1, 1])
    """
    require_none("weight_norm", "weight-normalized", module, name, WeightNorm)
    parameter_of("weight_norm", module, name)
    groups = 1
    if dim == "output":
        dim, groups = output_axis("weight_norm", module)
    register(module, name, WeightNorm(dim, groups))
    module.register_load_state_dict_pre_hook(RenameOldKeys(name))  # type: ignore[no-untyped-call]
    return module


def remove_weight_norm(module: ModuleT, name: str = "weight") -> ModuleT:
    """Put a plain parameter with the present weight in the place of length and direction; return the module.

    Raises:
        ArgumentError: (a ValueError) the parameter is not weight-normalized.

    >>> layer = remove_weight_norm(weight_norm(nn.Linear(2, 3)))
    >>> sorted(layer.state_dict())
    ['bias', 'weight']
    """
    if _parametrization(module, name) is None:
        raise ArgumentError(
            explain("remove_weight_norm", f"`{name}` must be weight-normalized", type(module).__name__)
        )
    own_class(module)
    parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    return module


def _parametrization(module: nn.Module, name: str) -> WeightNorm | None:
    if not parametrize.is_parametrized(module, name):
        return None
    first = module.parametrizations[name][0]  # type: ignore[index]
    return first if isinstance(first, WeightNorm) else None


class RenameOldKeys:
    """Accept the keys `weight_g` and `weight_v` in a state_dict, as torch's parametrization does."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: object) -> None:
        """Rename the keys of the module's state."""
        for old, new in (("g", "original0"), ("v", "original1")):
            value = state_dict.pop(f"{prefix}{self.name}_{old}", None)
            if value is not None:
                state_dict[f"{prefix}parametrizations.{self.name}.{new}"] = value
