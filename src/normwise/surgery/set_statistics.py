"""Momentum, eps and tracking of the normalizations of a model that exists."""

from __future__ import annotations

import inspect
import math
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

from normwise import layers
from normwise.errors import ArgumentError, explain
from normwise.layers._state import Normalizer
from normwise.layers._tracking import Tracking
from normwise.results.edits import Edit, Edits
from normwise.surgery._copy import copied
from normwise.surgery._select import Where, selected
from normwise.surgery._survey import check_model
from normwise.surgery._twins import describe

_WHO = "set_statistics"
_INSTANCE = (_InstanceNorm, layers.InstanceNormAct1d, layers.InstanceNormAct2d, layers.InstanceNormAct3d)
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked", "num_batches_skipped")

Keep = Literal["keep"]


def set_statistics(
    model: nn.Module,
    *,
    momentum: float | Keep | None = "keep",
    eps: float | Keep = "keep",
    track_running_stats: bool | Keep = "keep",
    where: Where = None,
    inplace: bool = False,
) -> tuple[nn.Module, Edits]:
    """Set how normalizations keep their statistics; what is not given stays.

    Without tracking a layer normalizes by the batch's statistics in evaluation, too, and has no running ones: they go,
    and with them their entries in the state_dict. With tracking it gets running statistics of mean zero and variance
    one: train, or `recalibrate`, before evaluation. Frozen statistics (`freeze`) and layers that cannot do what is
    asked for are left alone as a whole, with the reason in the record.

    Args:
        model: any module.
        momentum: weight of the new batch in running statistics, of batch and instance normalization; None counts all
            batches alike, which instance normalization does not know. Keras's 0.99 is 0.01 here.
        eps: of every normalization of torch's and normwise's that has one number for it.
        track_running_stats: of batch and instance normalization.
        where: which layers, by name, pattern or class (`freeze` has examples); None for all.
        inplace: change this model, instead of a copy that shares parameters and buffers.

    Returns:
        The model, and what was set and what was left alone.

    Raises:
        ArgumentError: (a ValueError) a momentum not between 0 and 1, an eps that is not positive, nothing to set, no
            layer to set it in, or a model that cannot be copied.

    >>> model, edits = set_statistics(nn.Sequential(nn.BatchNorm1d(3), nn.LayerNorm(3)), momentum=None, eps=1e-3)
    >>> print(edits)
    set_statistics: 2 places changed, 0 left alone
    name  before                                   after                                     why
    0     nn.BatchNorm1d, momentum=0.1, eps=1e-05  nn.BatchNorm1d, momentum=None, eps=0.001  as asked for
    1     nn.LayerNorm, eps=1e-05                  nn.LayerNorm, eps=0.001                   as asked for
    """
    check_model(_WHO, model)
    wanted: dict[str, Any] = {
        name: value
        for name, value in (
            ("momentum", momentum),
            ("eps", eps),
            ("track_running_stats", track_running_stats),
        )
        if not isinstance(value, str)
    }
    _check(wanted, (momentum, eps, track_running_stats))
    parts = {id(part) for module in model.modules() for part in _parts(module)}
    found = selected(
        _WHO,
        model,
        where,
        lambda module: id(module) not in parts and bool(wanted.keys() & _settable(module)),
        f"a normalization with {' or '.join(wanted)}",
    )
    if not found:
        must = f"the model must have a normalization with {' or '.join(wanted)}"
        raise ArgumentError(explain(_WHO, must, f"a {type(model).__name__} without one"))
    if not inplace:
        model = copied(model, _WHO)
        modules = dict(model.named_modules())
        found = {name: modules[name] for name in found}
    edits = []
    for name, module in found.items():
        values = {key: wanted[key] for key in wanted if key in _settable(module)}
        text = _described(module, values)
        reason = _obstacle(module, values)
        if reason is None:
            for holder in (module, *_parts(module)):
                _set(holder, values, model)
        why = reason or ("as asked for" if _described(module, values) != text else "so it was")
        if reason is None and values.get("track_running_stats") is True and why == "as asked for":
            why = "mean 0, variance 1: train or recalibrate before evaluation"
        edits.append(Edit(name, text, _described(module, values), why))
    return model, Edits(_WHO, tuple(edits))


def _check(wanted: dict[str, Any], given: tuple[Any, ...]) -> None:
    odd = [value for value in given if isinstance(value, str) and value != "keep"]
    if odd or not wanted:
        must = "`momentum`, `eps` or `track_running_stats` must be given"
        raise ArgumentError(explain(_WHO, must, repr(odd[0]) if odd else "none of them"))
    momentum, eps = wanted.get("momentum"), wanted.get("eps", 1.0)
    if momentum is not None and not 0.0 <= momentum <= 1.0:
        raise ArgumentError(explain(_WHO, "`momentum` must lie between 0 and 1, or be None", repr(momentum)))
    if eps is None or not (math.isfinite(eps) and eps > 0.0):
        raise ArgumentError(explain(_WHO, "`eps` must be positive and finite", repr(eps), "torch has 1e-5"))


def _settable(module: nn.Module) -> set[str]:
    """Which of the three a layer has."""
    held = vars(module)
    names = set()
    if isinstance(module, Tracking | _NormBase) and "momentum" in held:
        names.add("momentum")
    of_torch = isinstance(module, _NormBase | nn.LayerNorm | nn.GroupNorm | nn.RMSNorm)
    # Not a learned one, which is a parameter.
    if (of_torch or isinstance(module, Normalizer | Tracking)) and "eps" in held:
        names.add("eps")
    takes = (
        isinstance(module, Tracking) and "track_running_stats" in inspect.signature(type(module)).parameters
    )
    if takes or isinstance(module, _NormBase):
        names.add("track_running_stats")
    return names


def _obstacle(module: nn.Module, values: dict[str, Any]) -> str | None:
    if isinstance(module, nn.modules.lazy.LazyModuleMixin) and module.has_uninitialized_params():
        return "it has no parameters yet: run a batch through the model first"
    if getattr(module, "statistics_frozen", False) and values.keys() & {"momentum", "track_running_stats"}:
        return "its statistics are frozen"
    if isinstance(module, _INSTANCE) and "momentum" in values and values["momentum"] is None:
        return "instance normalization knows no average over all batches"
    return None


def _parts(module: nn.Module) -> list[nn.Module]:
    """Further holders of statistics of one layer."""
    if not isinstance(module, Tracking):
        return []
    return [part for part in module.modules() if part is not module and isinstance(part, Tracking)]


def _set(holder: nn.Module, values: dict[str, Any], model: nn.Module) -> None:
    for name in values.keys() & {"momentum", "eps"}:
        setattr(holder, name, values[name])
    track = values.get("track_running_stats")
    if track is None:
        return
    holder.track_running_stats = track
    if not track:
        for name in _BUFFERS:
            if name in holder._buffers:
                holder._buffers[name] = None
    elif holder._buffers.get("running_mean") is None:
        like = next(
            (p for owner in (holder, model) for p in owner.parameters() if p.is_floating_point()), None
        )
        features: Any = holder.num_features
        mean = torch.zeros(
            features, device=None if like is None else like.device, dtype=None if like is None else like.dtype
        )
        counter = torch.zeros((), dtype=torch.long, device=mean.device)
        fresh = (mean, torch.ones_like(mean), counter, torch.zeros_like(counter))
        for name, value in zip(_BUFFERS, fresh, strict=True):
            if name in holder._buffers:  # the last counter is normwise's
                holder._buffers[name] = value
        if isinstance(holder, Tracking):
            holder._widen_running({})


def _described(module: nn.Module, values: dict[str, Any]) -> str:
    return ", ".join([describe(module), *(f"{name}={getattr(module, name)}" for name in values)])
