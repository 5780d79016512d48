"""Which weights of a model a penalty acts on: picked by the module that owns them, each counted once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from normwise.errors import ArgumentError, explain

WEIGHTED: tuple[type[nn.Module], ...] = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


class Pick(NamedTuple):
    """A weight that was picked: its dotted name, its value now, whether it is itself a parameter, and its module."""

    name: str
    tensor: Tensor
    is_parameter: bool
    trains: bool
    owner: nn.Module


class Selection(NamedTuple):
    """The rule by which weights are picked: classes of owner modules and names of their parameters."""

    owners: tuple[type[nn.Module], ...]
    names: tuple[str, ...]

    def pick(self, model: nn.Module, who: str) -> list[Pick]:
        """Return the picked weights in the order of `model.modules()`, shared ones at their first place only.

        Raises:
            ArgumentError: no module of `model` is an owner with such a parameter.
        """
        picks: list[Pick] = []
        seen: set[object] = set()
        for prefix, module in model.named_modules():
            if not isinstance(module, self.owners):
                continue
            computed = module._modules.get("parametrizations")
            for name in self.names:
                full = f"{prefix}.{name}" if prefix else name
                if isinstance(computed, nn.ModuleDict) and name in computed:
                    key, pick = _computed(module, name, full, computed[name])
                else:
                    tensor = module._parameters.get(name)
                    if tensor is None:
                        tensor = getattr(module, name, None)
                        if not isinstance(tensor, Tensor):
                            continue
                    key = id(tensor)
                    pick = Pick(full, tensor, isinstance(tensor, nn.Parameter), tensor.requires_grad, module)
                if key not in seen:
                    seen.add(key)
                    picks.append(pick)
        if not picks:
            owners = ", ".join(owner.__name__ for owner in self.owners)
            raise ArgumentError(
                explain(
                    who,
                    f"`model` must have a parameter named {' or '.join(map(repr, self.names))} in a {owners}",
                    f"a {type(model).__name__} without one",
                    "name the classes of the modules that own the weights in `owners`",
                )
            )
        return picks


def selection(who: str, owners: Sequence[type[nn.Module]], parameters: Sequence[str]) -> Selection:
    """Check what the caller gave and return it as a `Selection`."""
    # A lone string is a sequence of its letters and would silently match nothing.
    if isinstance(parameters, str) or not parameters or not all(isinstance(n, str) for n in parameters):
        raise ArgumentError(
            explain(
                who,
                "`parameters` must be a non-empty sequence of names",
                repr(parameters),
                'write ("weight",) for one name',
            )
        )
    classes = () if isinstance(owners, type) else tuple(owners)
    if not classes or not all(isinstance(c, type) and issubclass(c, nn.Module) for c in classes):
        raise ArgumentError(
            explain(
                who,
                "`owners` must be a non-empty sequence of module classes",
                repr(owners),
                "write (torch.nn.Linear,) for one class",
            )
        )
    return Selection(classes, tuple(parameters))


def stored(picks: Sequence[Pick], who: str, why: str, remedy: str) -> list[Pick]:
    """Return the picks that train, whose values may be overwritten.

    Raises:
        ArgumentError: one of them is computed from other parameters.
    """
    for pick in picks:
        if not pick.is_parameter:
            raise ArgumentError(
                explain(
                    who,
                    f"weights must be parameters themselves, {why}",
                    f"{pick.name!r}, which is computed from other parameters (weight normalization?)",
                    remedy,
                )
            )
    return [pick for pick in picks if pick.trains]


def _computed(module: nn.Module, name: str, full: str, source: nn.Module) -> tuple[object, Pick]:
    # Without gradient mode the computed weight never requires grad, so its stored parts are asked.
    parts = list(source.parameters()) if isinstance(source, ParametrizationList) else []
    trains = any(part.requires_grad for part in parts)
    return tuple(id(part) for part in parts), Pick(full, getattr(module, name), False, trains, module)
