"""Another normalization with the parameters and settings of one that was read."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from normwise.layers._sharing import share, shared_by
from normwise.layers._tracking import Tracking
from normwise.layers.sync_batch_norm import AllReduce
from normwise.surgery._convert_kinds import BATCH, TITLES, TRAILING, Target, class_of
from normwise.surgery._convert_read import Reading
from normwise.surgery._twins import describe

_PLAIN = {"single_sample": "raise", "biased_running_var": False}


@dataclass(frozen=True, eq=False)
class Built:
    """A layer to put into the place of another.

    Attributes:
        module: the new layer.
        lost: what of the old one it has not.
        said: what else is to be known.
        fits: whether its evaluation is another one, so that weight and bias can be fitted to data.
        fresh: whether its running statistics are those of a new layer.
    """

    module: nn.Module
    lost: tuple[str, ...]
    said: tuple[str, ...]
    fits: bool
    fresh: bool


def build(reading: Reading, target: Target, rank: int | None) -> Built | str:
    """The new layer for inputs of this rank, or why there is none."""
    kind = target.kind
    layer = class_of(kind, rank, fused=bool(reading.finish))
    if layer is None:
        where = "with an activation" if reading.finish else "for this input"
        return f"there is no {TITLES[kind]} {where}"
    tracks = bool(reading.running) if reading.kind in BATCH else kind in BATCH
    if kind in ("frozen", "batch_renorm") and not tracks:
        return f"it tracks no statistics, which {TITLES[kind]} needs"
    if kind in ("ghost", "batch_renorm") and reading.eps == 0:
        return f"its eps is 0, which {TITLES[kind]} does not take"
    with torch.no_grad():
        new = layer(**_arguments(layer, reading, target, rank, tracks))
    averaged = _place(new, reading)
    fresh = kind in BATCH and reading.kind not in BATCH
    if isinstance(new, Tracking) and kind in BATCH:
        _track(new, reading, kind)
    said = []
    if target.number is not None and kind == "group" and target.number != new.num_groups:
        said.append(
            f"{new.num_groups} groups, since {target.number} do not divide {reading.channels} channels"
        )
    if fresh:
        said.append("running statistics begin at 0 and 1")
    alpha = new._parameters.get("alpha")
    if alpha is not None and reading.alpha is None:
        alpha.requires_grad_(reading.weight is None or reading.weight.requires_grad)
        said.append(f"alpha begins at {new.initial_alpha:g}")
    lost = _lost(reading, new, kind) + (("weight and bias of each position: averaged",) if averaged else ())
    same = (kind in BATCH and reading.kind in BATCH) or (kind == reading.kind and kind != "group")
    return Built(new, lost, tuple(said), not same, fresh)


def _arguments(
    layer: type[nn.Module], reading: Reading, target: Target, rank: int | None, tracks: bool
) -> dict[str, Any]:
    """What the class takes of all that is known."""
    tensors: list[Tensor] = [*reading.parameters.values(), *reading.running.values()]
    floating = [tensor for tensor in tensors if tensor.is_floating_point()]
    affine = reading.weight is not None
    known: dict[str, Any] = {
        "num_features": reading.channels,
        "num_channels": reading.channels,
        "normalized_shape": reading.shape if rank == TRAILING else (reading.channels,),
        "momentum": reading.momentum,
        "affine": affine,
        "elementwise_affine": affine,
        "bias": reading.bias is not None or not affine,
        "track_running_stats": tracks,
        "device": floating[0].device if floating else None,
        "dtype": floating[0].dtype if floating else None,
    }
    known |= _eps(reading, target.kind, floating)
    kept = reading.options if target.kind == reading.kind and target.number is None else {}
    known |= (kept or target.numbers(reading.channels)) | reading.finish
    if target.kind == "instance":
        known["track_running_stats"] = False
    taken = inspect.signature(layer).parameters
    return {name: value for name, value in known.items() if name in taken}


def _eps(reading: Reading, kind: str, floating: list[Tensor]) -> dict[str, float | None]:
    if reading.eps is not None:
        return {"eps": reading.eps}
    if kind == "rms" or reading.kind != "rms":
        return {}
    wide = floating and floating[0].dtype == torch.float64
    return {"eps": torch.finfo(torch.float64 if wide else torch.float32).eps}


def _place(new: nn.Module, reading: Reading) -> bool:
    """Put the old parameters and running statistics into the new layer; whether some had to be averaged."""
    averaged = False
    for name, parameter in reading.parameters.items():
        own = new._parameters.get(name)
        if own is None:
            continue
        if own.shape == parameter.shape:
            new._parameters[name] = parameter
        else:
            averaged = True
            mean = parameter.detach().mean(dim=tuple(range(1, parameter.dim())))
            new._parameters[name] = successor(parameter, mean)
    for name, buffer in reading.running.items():
        if name in new._buffers and reading.kind in BATCH and new._buffers[name] is not None:
            new._buffers[name] = buffer
    return averaged


def successor(parameter: nn.Parameter, value: Tensor) -> nn.Parameter:
    """A parameter with another value and all else of an old one."""
    made = nn.Parameter(value.detach().clone(), requires_grad=parameter.requires_grad)
    vars(made).update(vars(parameter))
    return made


def _track(new: Tracking, reading: Reading, kind: str) -> None:
    options = reading.tracking
    if kind in ("ghost", "batch_renorm"):
        new.biased_running_var = bool(options.get("biased_running_var", False))
    else:
        new.single_sample = str(options.get("single_sample", "raise"))
        new.biased_running_var = bool(options.get("biased_running_var", False))
    frozen = reading.kind != "frozen" and bool(options.get("statistics_frozen", False))
    new.statistics_frozen = kind == "frozen" or frozen
    if kind == "sync":
        share(new, AllReduce(reading.options.get("process_group")))


def _lost(reading: Reading, new: Any, kind: str) -> tuple[str, ...]:
    """What the old layer had and the new one has not."""
    lost = []
    if reading.running and kind not in BATCH:
        lost.append("running statistics")
    if (reading.kind in BATCH or reading.running) and not hasattr(new, "momentum"):
        lost.append(f"momentum {reading.momentum}")
    lost += [
        name for name in ("bias", "alpha") if name in reading.parameters and new._parameters.get(name) is None
    ]
    if reading.eps is not None and not hasattr(new, "eps"):
        lost.append(f"eps {reading.eps:g}")
    if kind != reading.kind:
        lost += [f"{name} {value}" for name, value in reading.options.items() if value is not None]
    for name, value in reading.tracking.items():
        if value != _PLAIN.get(name, value) and getattr(new, name, None) != value:
            lost.append(f"{name} {value!r}")
    return tuple(lost)


def described(module: Any) -> str:
    """The class as it is written in code, with the number that it has and what it is set to do."""
    text = describe(module)
    for name, words in (("num_groups", "{} groups"), ("ghost_size", "{} samples a ghost")):
        if hasattr(module, name):
            text += ", " + words.format(getattr(module, name))
    text += " over all processes" if isinstance(shared_by(module), AllReduce) else ""
    return text + (", statistics frozen" if getattr(module, "statistics_frozen", False) else "")
