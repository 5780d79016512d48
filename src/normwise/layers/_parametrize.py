"""What the parametrizations of a weight share: its axis of output units, its errors, its removal.

Index convention: a weight is seen as (U, *), one output unit per index of the first axis, and what follows are the
unit's incoming weights; with groups in a transposed convolution, whose weight is (C_in, C_out / groups, *), as (groups,
C_in / groups, C_out / groups, *).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import parametrize
from torch.nn.utils.parametrize import ParametrizationList

from normwise.errors import ArgumentError, explain

Axis = int | Literal["output"]
ModuleT = TypeVar("ModuleT", bound=nn.Module)
_KindT = TypeVar("_KindT", bound=nn.Module)


class PerUnit(nn.Module):
    """A parametrization that looks at each output unit's incoming weights.

    Args:
        dim: the axis of output units; None takes the whole tensor as one.
        groups: of a transposed convolution: its input axis is split into them.
    """

    def __init__(self, dim: int | None = 0, groups: int = 1) -> None:
        super().__init__()
        self.dim = dim
        self.groups = groups

    def split(self, weight: Tensor) -> Tensor:
        """The weight with its groups on an axis of their own, where there are several."""
        return weight if self.groups == 1 else weight.reshape(self.groups, -1, *weight.shape[1:])

    def incoming(self, split: Tensor) -> tuple[int, ...]:
        """The axes of a unit's incoming weights."""
        if self.dim == 0 and self.groups == 1:  # nearly always, and quickest
            return tuple(range(1, split.dim()))
        if self.dim is None:
            return tuple(range(split.dim()))
        kept = {self.dim % split.dim()} if self.groups == 1 else {0, 2}
        return tuple(axis for axis in range(split.dim()) if axis not in kept)

    def fan_in(self, weight: Tensor) -> int:
        """How many incoming weights a unit has."""
        split = self.split(weight)
        count = 1
        for axis in self.incoming(split):
            count *= split.shape[axis]
        return count

    def as_matrix(self, weight: Tensor) -> Tensor:
        """The weight as (U, fan-in); with groups the units of one group after those of another."""
        split = self.split(weight)
        kept, inner = self._order(split)
        return split.permute(*kept, *inner).flatten(len(kept)).flatten(0, len(kept) - 1)

    def from_matrix(self, matrix: Tensor, like: Tensor) -> Tensor:
        """The inverse of `as_matrix`, for a weight of the shape of `like`."""
        split = self.split(like)
        kept, inner = self._order(split)
        order = (*kept, *inner)
        back = sorted(range(len(order)), key=order.__getitem__)
        return (
            matrix.reshape([split.shape[axis] for axis in order])
            .permute(back)
            .reshape(like.shape)
            .contiguous()
        )

    def _order(self, split: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
        inner = self.incoming(split)
        return tuple(axis for axis in range(split.dim()) if axis not in inner), inner

    def extra_repr(self) -> str:
        """The axis, and the groups where there are several."""
        return f"dim={self.dim}" + (f", groups={self.groups}" if self.groups > 1 else "")


def output_axis(who: str, module: nn.Module) -> tuple[int, int]:
    """The axis of a weight's output units, and the groups that its input axis holds beside.

    Raises:
        ArgumentError: (a ValueError) the module is neither Linear nor a convolution.
    """
    if isinstance(module, _ConvTransposeNd):
        return 1, module.groups
    if isinstance(module, nn.Linear | _ConvNd):
        return 0, 1
    raise ArgumentError(
        explain(
            who,
            'dim="output" knows Linear and convolutions',
            type(module).__name__,
            "give the axis of output units as `dim`",
        )
    )


def axis_of(who: str, module: nn.Module, name: str, dim: Axis) -> tuple[int, int]:
    """The axis and the groups that `dim` means for a parameter with two axes or more.

    Raises:
        ArgumentError: (a ValueError) there is no such parameter, it has too few axes, or the axis is not known.
    """
    weight = parameter_of(who, module, name)
    if weight.dim() < 2:
        raise ArgumentError(
            explain(
                who, f"`{name}` must have 2 axes or more", f"shape {tuple(weight.shape)}", "give a weight"
            )
        )
    if dim == "output":
        return output_axis(who, module)
    if not -weight.dim() <= dim < weight.dim():
        raise ArgumentError(
            explain(who, f"`dim` must be an axis of `{name}`, which has {weight.dim()}", f"{dim}")
        )
    return dim % weight.dim(), 1


def parameter_of(who: str, module: nn.Module, name: str) -> Tensor:
    """The parameter of a module by name.

    Raises:
        ArgumentError: (a ValueError) there is no such parameter.
    """
    # A parametrization that draws or iterates must not be run for being looked at: its input has the shape.
    if parametrize.is_parametrized(module, name):
        return max(originals(module, name), key=Tensor.numel)
    value = getattr(module, name, None)
    if not isinstance(value, Tensor):
        raise ArgumentError(
            explain(
                who,
                f"the module must have a parameter `{name}`",
                type(module).__name__,
                "apply it to each layer of a container",
            )
        )
    return value


def originals(module: nn.Module, name: str) -> tuple[Tensor, ...]:
    """The tensors that the parametrizations of a parameter start from."""
    held: Any = module.parametrizations[name]  # type: ignore[index]
    if held.is_tensor:
        return (held.original,)
    return tuple(getattr(held, f"original{index}") for index in range(held.ntensors))


def find(module: nn.Module, name: str, kind: type[_KindT]) -> _KindT | None:
    """The first parametrization of a kind among those of a parameter, or None."""
    if not parametrize.is_parametrized(module, name):
        return None
    every = module.parametrizations[name]  # type: ignore[index]
    return next((each for each in every if isinstance(each, kind)), None)


def require_none(who: str, what: str, module: nn.Module, name: str, kind: type[nn.Module]) -> None:
    """Raise `ArgumentError`, a ValueError, where the parameter has a parametrization of the kind already."""
    if find(module, name, kind) is not None:
        raise ArgumentError(explain(who, f"`{name}` must not be {what} yet", type(module).__name__))


def widened(weight: Tensor) -> Tensor:
    """The weight in float32 where its dtype is narrower: what statistics are taken of."""
    return weight.float() if weight.dtype in (torch.float16, torch.bfloat16) else weight


def without_autocast(tensor: Tensor) -> AbstractContextManager[object]:
    """A block in which products of matrices keep the dtype of their factors: autocast would round them to 3 digits."""
    if tensor.is_meta:  # a device that autocast does not know
        return nullcontext()
    return torch.autocast(tensor.device.type, enabled=False)


class Parametrizations(ParametrizationList):
    """What computes a parametrized weight: torch's list, quick where it holds one parametrization.

    torch's looks for a second one by the error of its absence, at every use of the weight: as long as a small operator
    takes.
    """

    def forward(self) -> Tensor:
        """The weight."""
        if len(self._modules) == 1:
            held = self._parameters
            first = held.get("original" if self.is_tensor else "original0")
            second = held.get("original1")
            if first is not None and (second is not None) == (self.ntensors == 2):
                only: Any = self._modules["0"]
                weight: Tensor = only(first) if second is None else only(first, second)
                return weight
        return super().forward()


def register(module: nn.Module, name: str, kind: nn.Module) -> None:
    """Compute a parameter of a module by one more parametrization."""
    parametrize.register_parametrization(module, name, kind, unsafe=True)
    held: Any = module.parametrizations[name]  # type: ignore[index]
    if type(held) is ParametrizationList:
        held.__class__ = Parametrizations


def own_class(module: nn.Module) -> None:
    """Give a parametrized module a class of its own.

    A deep copy of a parametrized module has the original's class, whose property torch deletes when it removes the
    parametrization of either: the other would be left without the weight.
    """
    shared = type(module)
    namespace = {key: value for key, value in vars(shared).items() if key not in ("__dict__", "__weakref__")}
    module.__class__ = type(shared.__name__, shared.__bases__, namespace)
