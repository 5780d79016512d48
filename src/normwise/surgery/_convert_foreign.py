"""Normalizations of timm, transformers and their like: known by class, and only if they prove to compute the same."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from normwise.surgery._convert_build import build
from normwise.surgery._convert_kinds import TRAILING, Target
from normwise.surgery._convert_read import RUNNING, Reading
from normwise.surgery._twins import HOOKS, activation_name

_PACKAGES = ("timm.", "transformers.", "torchvision.", "monai.", "diffusers.")
_BASES: tuple[tuple[type[nn.Module], tuple[tuple[str, int | None], ...]], ...] = (
    (nn.BatchNorm1d, (("batch", 1),)),
    (nn.BatchNorm2d, (("batch", 2),)),
    (nn.BatchNorm3d, (("batch", 3),)),
    (nn.GroupNorm, (("group", None),)),
    (nn.LayerNorm, (("layer", TRAILING), ("layer", 2))),
    (nn.RMSNorm, (("rms", TRAILING), ("rms", 2))),
)
_RMS_NAME = re.compile("RMS_?Norm", re.IGNORECASE)
_MANY = 3  # samples, and positions along an axis, of the inputs by which a class is tried
_CLOSE = 1e-5  # such classes compute in float32, whatever they are given


def resembles(module: nn.Module) -> tuple[str, ...]:
    """The kinds that a class which is not known by itself may be of, by its base or its name."""
    return tuple(dict.fromkeys(kind for kind, _ in _candidates(module)))


def _candidates(module: nn.Module) -> tuple[tuple[str, int | None], ...]:
    if type(module).__module__.startswith("normwise."):
        return ()
    scripted = getattr(module, "original_name", "") if isinstance(module, torch.jit.ScriptModule) else ""
    later = getattr(module, "cls_to_become", None)  # of a lazy one, which is no subclass of it
    for base, kinds in _BASES:
        if isinstance(module, base) or base is later or base.__name__ == scripted:
            return kinds
    if _RMS_NAME.search(type(module).__name__) and isinstance(module._parameters.get("weight"), Tensor):
        return (("rms", TRAILING), ("rms", 2))
    return ()


def read_foreign(module: nn.Module) -> Reading | str:
    """Read a layer of another package, or say why it stays as it is.

    Its class may do more than its base. So it is run on random inputs with random parameters, in both modes,
    next to the layer that it is taken for, and is only known where both give the same outputs and running statistics.
    """
    name = type(module).__name__
    if "parametrizations" in module._modules:
        return "it is parametrized"
    if not type(module).__module__.startswith(_PACKAGES):
        derived = any(isinstance(module, base) for base, _ in _BASES)
        return "a subclass may do more than its base" if derived else f"what {name} computes is not known"
    if "forward" in vars(module):
        return "its `forward` was replaced"
    finish = _finish(module)
    if finish is None:
        return f"{name} has modules of its own that are not known"
    for kind, rank in _candidates(module):
        reading = _reading(module, kind, rank, finish)
        if reading is not None and _proved(module, reading):
            return reading
    return f"{name} computes something else than its base"


def _finish(module: nn.Module) -> dict[str, Any] | None:
    """What its inner modules do after the norm, as a fused layer has it; None where that is not known."""
    inner = {name: child for name, child in module._modules.items() if child is not None}
    if not inner:
        return {}
    if inner.keys() - {"act", "drop"} or type(inner.get("drop", nn.Identity())) is not nn.Identity:
        return None
    activation = inner.get("act", nn.Identity())
    if type(activation) is nn.Identity:
        return {}
    known = activation_name(activation)
    return None if known is None else {"activation": known, "dropout": 0.0}


def _reading(module: Any, kind: str, rank: int | None, finish: dict[str, Any]) -> Reading | None:
    held = module._parameters
    if held.keys() - {"weight", "bias"}:
        return None
    weight, bias = held.get("weight"), held.get("bias")
    eps = next((getattr(module, name) for name in ("eps", "variance_epsilon") if hasattr(module, name)), None)
    shape = tuple(weight.shape) if weight is not None else getattr(module, "normalized_shape", None)
    shape = (module.num_features,) if shape is None and hasattr(module, "num_features") else shape
    if shape is None or not shape or not isinstance(eps, float | None):
        return None
    running = {name: module._buffers[name] for name in RUNNING if module._buffers.get(name) is not None}
    options = {"num_groups": module.num_groups} if kind == "group" else {}
    carried = frozenset(
        name
        for name, value in vars(module).items()
        if name not in vars(nn.Module()) and not isinstance(value, Tensor | nn.Module)
    )
    momentum = getattr(module, "momentum", 0.1)
    return Reading(
        kind, rank, tuple(shape), eps, momentum, weight, bias, None, running, options, finish, {}, carried
    )


def _proved(module: nn.Module, reading: Reading) -> bool:
    """Whether the layer that it is taken for gives the same, on random inputs and with random parameters."""
    generator = torch.Generator().manual_seed(0)
    try:
        theirs = copy.deepcopy(module).to("cpu", torch.float64)
        for name in HOOKS:
            vars(theirs)[name].clear()
        with torch.no_grad():
            for tensor in (*theirs.parameters(), *theirs.buffers()):
                if tensor.is_floating_point():
                    tensor.copy_(torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype) + 0.5)
        alike = _reading(theirs, reading.kind, reading.rank, reading.finish)
        built = "" if alike is None else build(alike, Target(reading.kind), reading.rank)
        if isinstance(built, str):
            return False
        # What runs below moves the running statistics of both.
        ours = copy.deepcopy(built.module)
        for x in _inputs(reading, generator):
            for training in (False, True):
                with torch.no_grad():
                    expected = theirs.train(training)(x.clone())
                    actual = ours.train(training)(x.clone())
                if not torch.allclose(actual, expected, rtol=_CLOSE, atol=_CLOSE):
                    return False
        pairs = zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
        return all(torch.allclose(a.double(), b.double(), rtol=_CLOSE, atol=_CLOSE) for a, b in pairs)
    except Exception:
        # What cannot be tried is not known, whatever it raises.
        return False


def _inputs(reading: Reading, generator: torch.Generator) -> Iterator[Tensor]:
    if reading.rank == TRAILING:
        shapes = [(_MANY, *reading.shape), (2, _MANY, *reading.shape)]
    else:
        shapes = [(_MANY, reading.channels, *[_MANY] * (2 if reading.rank is None else reading.rank))]
    for shape in shapes:
        for scale in (1.0, 0.01):
            yield scale * (torch.randn(shape, generator=generator, dtype=torch.float64) + 0.7)
