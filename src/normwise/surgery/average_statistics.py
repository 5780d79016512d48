"""Running statistics of several models as one: moments are averaged, not variances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.optim.swa_utils import AveragedModel

from normwise import layers
from normwise.errors import ArgumentError, explain
from normwise.results.edits import Edit, Edits
from normwise.surgery._copy import copied
from normwise.surgery._eligible import reasons
from normwise.surgery._fresh import own_statistics
from normwise.surgery._range import check_range
from normwise.surgery._select import Where
from normwise.surgery._shift import New, moved
from normwise.surgery._sites import STATISTICS
from normwise.surgery._survey import check_model
from normwise.surgery._twins import describe

_WHO = "average_statistics"
_WRAPPERS = (AveragedModel, nn.parallel.DistributedDataParallel, nn.DataParallel)
_INSTANCE = (_InstanceNorm, layers.InstanceNormAct1d, layers.InstanceNormAct2d, layers.InstanceNormAct3d)


def average_statistics(
    models: Sequence[nn.Module],
    weights: Sequence[float] | None = None,
    *,
    where: Where = None,
    inplace: bool = False,
) -> tuple[nn.Module, Edits]:
    """Give the first of several models the running statistics of all: those of their data together.

    ``μ = Σ p·μ_k`` and ``σ² = Σ p·(σ²_k + (μ_k − μ)²)`` with p the weights divided by their sum: averaging
    variances, as `AveragedModel(use_buffers=True)` and averages over processes do, loses the second term, the spread
    between the models. Right where the models are replicas of one network on other data (processes, clients) or nearly
    so (an exponential average: ``average_statistics([average, model], [0.999, 0.001], inplace=True)``). Where their
    weights differ, as in SWA, the averaged network has statistics that none of them has seen: then `recalibrate` it.

    Instance normalization tracks means over instances of means and of variances: both are averaged. EvoNorm has no
    mean, and its variances are averaged. Counters stay. Left alone, with the reason in the record: frozen statistics of
    the first model, and decorrelated normalization, whose whitening matrices have no average that whitens.

    Args:
        models: of one architecture; the first gets the result. Of `AveragedModel` and `DistributedDataParallel` what
            is in it counts.
        weights: of the models, 0 for no part; None for equal ones.
        where: which layers, by name, pattern or class; None for all.
        inplace: change the first model's buffers, instead of giving a copy with buffers of its own.

    Returns:
        The first model, and for each layer how far mean and standard deviation have moved.

    Raises:
        ArgumentError: (a ValueError) no models, other layers in one of them, weights that are none, or statistics
            beyond the dtype of their buffers.

    Source: Chan, Golub & LeVeque 1983; for averaged weights Izmailov et al. 2018, section 3.2.

    >>> parts = [nn.BatchNorm1d(1), nn.BatchNorm1d(1)]
    >>> parts[1].running_mean.fill_(4.0)
    tensor([4.])
    >>> model, _ = average_statistics(parts)
    >>> model.running_mean, model.running_var
    (tensor([2.]), tensor([5.]))
    """
    if isinstance(models, nn.Module) or not len(models):
        got = "none" if not isinstance(models, nn.Module) else f"a {type(models).__name__}"
        raise ArgumentError(explain(_WHO, "`models` must be a list of models", got, "[average, model]"))
    for each in models:
        check_model(_WHO, each)
    shares = _shares(weights, len(models))
    why = reasons(_WHO, _inside(models[0]), where)
    others = [dict(_inside(each).named_modules()) for each in models]
    model = models[0]
    if not inplace:
        model = copied(model, _WHO)
        own_statistics(_inside(model), [name for name, reason in why.items() if reason is None])
    modules = dict(_inside(model).named_modules())
    new: New = []
    edits = []
    for name, reason in why.items():
        layer, text = modules[name], describe(modules[name])
        if reason is None and layer._buffers.get("running_whitening") is not None:
            reason = "whitening matrices have no average that whitens: recalibrate it"
        if reason is not None:
            edits.append(Edit(name, text, text, reason))
            continue
        found: New = []
        for inner, holder in layer.named_modules(prefix=name):
            if any(holder._buffers.get(key) is not None for key in STATISTICS):
                replicas = [_same(each.get(inner), holder, inner) for each in others]
                values = _averaged(replicas, shares, isinstance(layer, _INSTANCE))
                for key, value in values.items():
                    check_range(_WHO, inner, key, value, holder.get_buffer(key).dtype)
                found.append((holder, values))
        edits.append(Edit(name, text, f"{text}, averaged", moved(found, float(getattr(layer, "eps", 0.0)))))
        new += found
    with torch.no_grad():
        for holder, values in new:
            for key, value in values.items():
                holder.get_buffer(key).copy_(value)
    return model, Edits(_WHO, tuple(edits))


def _inside(model: nn.Module) -> nn.Module:
    inner: Any = model
    while isinstance(inner, _WRAPPERS):
        inner = inner.module
    return inner  # type: ignore[no-any-return]


def _shares(weights: Sequence[float] | None, count: int) -> list[float]:
    given = [1.0] * count if weights is None else [float(weight) for weight in weights]
    must = f"`weights` must be {count} finite numbers, none negative and not all zero"
    if len(given) != count or not all(math.isfinite(w) and w >= 0.0 for w in given) or sum(given) == 0.0:
        raise ArgumentError(explain(_WHO, must, f"{given}", "one for each model"))
    return [weight / sum(given) for weight in given]


def _same(module: nn.Module | None, like: nn.Module, name: str) -> dict[str, Tensor]:
    """The statistics of a replica of a layer, in float64."""
    buffers = {} if module is None else module._buffers
    found = {}
    for key in STATISTICS:
        old, value = like._buffers.get(key), buffers.get(key)
        if old is not None:
            if value is None or value.shape != old.shape:
                got = "none" if value is None else f"shape {tuple(value.shape)}"
                must = f"every model must have `{name}.{key}` of shape {tuple(old.shape)}"
                raise ArgumentError(explain(_WHO, must, got, "models of one architecture have"))
            found[key] = value.to(old.device).double()
    return found


def _averaged(
    replicas: list[dict[str, Tensor]], shares: list[float], of_instances: bool
) -> dict[str, Tensor]:
    def mean_of(values: list[Tensor]) -> Tensor:
        # What has no part must not be there at all: 0 · NaN would be NaN.
        parts = [value * share for value, share in zip(values, shares, strict=True) if share > 0.0]
        return torch.stack(parts).sum(0)

    new = {key: mean_of([each[key] for each in replicas]) for key in replicas[0]}
    if len(new) == 2 and not of_instances:
        apart = [(each["running_mean"] - new["running_mean"]).square() for each in replicas]
        new["running_var"] = new["running_var"] + mean_of(apart)
    return new
