"""Which running statistics may be given other values, and why the others stay."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin

from normwise.errors import ArgumentError, explain
from normwise.layers._tracking import Tracking
from normwise.surgery._select import Where, selected
from normwise.surgery._sites import STATISTICS, is_ours, keeps_statistics


def reasons(who: str, model: nn.Module, where: Where, *, modes: bool = False) -> dict[str, str | None]:
    """Name → why a layer's statistics stay as they are; None where they may be changed.

    Args:
        who: the operation, for messages.
        model: any module.
        where: which layers.
        modes: a layer that is in evaluation in a model in training counts as frozen.

    Raises:
        ArgumentError: (a ValueError) there is no layer with running statistics, or one has no values yet.
    """
    # The parts of a layer that has several statistics are its own affair.
    parts = {
        id(part)
        for module in model.modules()
        if keeps_statistics(module)
        for part in module.modules()
        if part is not module
    }
    found = selected(
        who,
        model,
        where,
        lambda module: id(module) not in parts and (keeps_statistics(module) or _looks_like_it(module)),
        "a layer with running statistics",
    )
    if not found:
        raise ArgumentError(
            explain(
                who,
                "the model must have a layer with running statistics",
                f"a {type(model).__name__} without one",
                "batch normalization has them, with track_running_stats=True",
            )
        )
    for name, module in found.items():
        lazy = isinstance(module, LazyModuleMixin) and module.has_uninitialized_params()
        if lazy or any(buffer.is_meta for buffer in module.buffers(recurse=False)):
            got = "a lazy layer before its first batch" if lazy else "buffers on the meta device"
            hint = "run a batch through the model first" if lazy else "load a state, or use to_empty first"
            raise ArgumentError(explain(who, f"`{name}` must have statistics", got, hint))
    return {name: _reason(model, module, modes) for name, module in found.items()}


def _reason(model: nn.Module, module: nn.Module, modes: bool) -> str | None:
    layer: Any = module
    if not keeps_statistics(module):
        return f"{type(module).__name__} is not known: it may be a frozen one"
    if isinstance(module, Tracking) and not is_ours(module):
        return f"{type(module).__name__} has a forward pass of its own"
    if getattr(layer, "statistics_frozen", False):
        return "its statistics are frozen"
    if not layer.track_running_stats:
        return "its track_running_stats is off, which freezes them"
    if modes and model.training and not module.training:
        return "it is in evaluation in a model in training, which freezes it"
    return None


def _looks_like_it(module: nn.Module) -> bool:
    return all(module._buffers.get(name) is not None for name in STATISTICS[:2])
