"""A normalization as it is found in a model, in words that hold for every class of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from normwise.layers._fused import Fused
from normwise.layers._sharing import shared_by
from normwise.surgery._convert_kinds import BATCH, kind_of
from normwise.surgery._twins import HOOKS, LINK, _added, obstacle

RUNNING = ("running_mean", "running_var", "num_batches_tracked")
_STATE_HOOKS = ("_state_dict_hooks", "_state_dict_pre_hooks")
_LOAD_HOOKS = ("_load_state_dict_pre_hooks", "_load_state_dict_post_hooks")
_OPTIONS = {
    "group": ("num_groups",),
    "ghost": ("ghost_size",),
    "batch_renorm": ("r_max", "d_max", "plain_steps", "r_max_step", "d_max_step"),
    "sync": ("process_group",),
}
_MACHINERY = frozenset(vars(nn.Module())) - {
    "_parameters",
    "_buffers",
    "_modules",
    "_non_persistent_buffers_set",
}


@dataclass(frozen=True, eq=False)
class Reading:
    """What a layer does and holds.

    Attributes:
        kind: its name in `_convert_kinds`.
        rank: how many axes of positions it takes behind the channels; `TRAILING` where its statistics go over the
            last axes; None where any number fits.
        shape: of its weight, if it has or had one.
        eps: added to the variance; None for its own default, or where there is none.
        momentum: of running statistics, else torch's default.
        weight, bias, alpha: its parameters, or None.
        running: its running statistics by name; empty where it has none.
        options: what the kind alone has, as the number of groups.
        finish: activation and dropout of a fused layer; empty for a plain one.
        tracking: options of normwise's layers with running statistics.
        carried: names of attributes that somebody gave to it.
    """

    kind: str
    rank: int | None
    shape: tuple[int, ...]
    eps: float | None
    momentum: float | None
    weight: nn.Parameter | None
    bias: nn.Parameter | None
    alpha: nn.Parameter | None = None
    running: dict[str, Tensor] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    finish: dict[str, Any] = field(default_factory=dict)
    tracking: dict[str, Any] = field(default_factory=dict)
    carried: frozenset[str] = frozenset()

    @property
    def channels(self) -> int:
        """The first axis of the weight."""
        return self.shape[0]

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Those that there are, by name."""
        named = {"weight": self.weight, "bias": self.bias, "alpha": self.alpha}
        return {name: parameter for name, parameter in named.items() if parameter is not None}


def hindrance(module: nn.Module) -> str | None:
    """Why a layer of a known class cannot become another; None where it can. Hooks are none: they stay with it."""
    shadow = object.__new__(type(module))
    vars(shadow).update(vars(module) | {name: {} for name in HOOKS & vars(module).keys()})
    reason = obstacle(shadow)
    if reason is None and shared_by(module) is not None and read(module).kind != "sync":
        return "it shares its statistics with others for the time being"
    if reason is None and _untracked(module):
        return "it has running statistics that it does not track"
    return reason


def _untracked(module: nn.Module) -> bool:
    """Whether evaluation reads statistics that training leaves alone."""
    return (
        not getattr(module, "track_running_stats", True) and module._buffers.get("running_mean") is not None
    )


def state_hooks(module: nn.Module) -> bool:
    """Whether a hook reads or writes the names of the layer's state."""
    return any(vars(module).get(name) for name in (*_STATE_HOOKS, *_LOAD_HOOKS))


def read(module: Any) -> Reading:
    """Read a layer of a known class."""
    kind, rank = kind_of(module) or ("", None)
    held = module._parameters
    running = {name: module._buffers[name] for name in RUNNING if module._buffers.get(name) is not None}
    named = ("normalized_shape", "num_features", "num_channels")
    found = next(getattr(module, name) for name in named if hasattr(module, name))
    shape = (found,) if isinstance(found, int) else tuple(found)
    options = {name: getattr(module, name) for name in _OPTIONS.get(kind, ()) if hasattr(module, name)}
    tracking = {
        name: getattr(module, name)
        for name in ("single_sample", "biased_running_var", "statistics_frozen")
        if hasattr(module, name)
    }
    fused = isinstance(module, Fused)
    return Reading(
        kind,
        rank,
        shape,
        getattr(module, "eps", None),
        getattr(module, "momentum", 0.1),
        held.get("weight"),
        held.get("bias"),
        held.get("alpha"),
        running if getattr(module, "track_running_stats", True) else {},
        options,
        {"activation": module.activation, "dropout": module.dropout} if fused else {},
        tracking if kind in BATCH or kind == "instance" else {},
        frozenset(_added(module) - {"shared_by"}),
    )


def become(module: nn.Module, new: nn.Module, carried: frozenset[str]) -> Callable[[], None]:
    """Make a module what another one is: the same object, with its hooks, its mode and attributes that were added.

    Returns what takes it back.
    """
    kind, before = type(module), dict(vars(module))
    kept = {name: value for name, value in before.items() if name in _MACHINERY or name == LINK}
    own = vars(new)
    added = {name: before[name] for name in carried if name not in own and not hasattr(type(new), name)}
    after = own | added | kept

    def back() -> None:
        _turn(module, kind, before)

    _turn(module, type(new), after)
    return back


def _turn(module: nn.Module, kind: type[nn.Module], attributes: dict[str, Any]) -> None:
    module.__class__ = kind
    vars(module).clear()
    vars(module).update(attributes)
