"""What folding knows of a module: which layer of torch's it is, and what a norm does to a channel in evaluation."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from normwise import layers
from normwise.layers._fused import Fused
from normwise.layers._tracking import Tracking
from normwise.layers.normalized import NORMALIZED
from normwise.surgery._twins import HOOKS

CONVOLUTIONS: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED: tuple[type[nn.Module], ...] = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LINEAR: tuple[type[nn.Module], ...] = (nn.Linear, *CONVOLUTIONS, *TRANSPOSED)

_RANKS = (1, 2, 3)
BATCH_NORMS: tuple[type[nn.Module], ...] = (
    nn.SyncBatchNorm,
    layers.SyncBatchNorm,
    *(getattr(nn, f"BatchNorm{rank}d") for rank in _RANKS),
    *(
        getattr(layers, f"{name}{rank}d")
        for name in ("BatchNorm", "BatchNormAct", "GhostBatchNorm", "BatchRenorm", "MeanOnlyBatchNorm")
        for rank in _RANKS
    ),
)
INSTANCE_NORMS: dict[type[nn.Module], int] = {
    kind: rank
    for rank in _RANKS
    for kind in (
        getattr(nn, f"InstanceNorm{rank}d"),
        getattr(layers, f"InstanceNorm{rank}d"),
        getattr(layers, f"InstanceNormAct{rank}d"),
    )
}
NORMS: tuple[type[nn.Module], ...] = (*BATCH_NORMS, *INSTANCE_NORMS)
"""Norms that are a fixed scale and shift of each channel in evaluation, given running statistics."""

HOLDING: dict[type[nn.Module], type[nn.Module]] = {inside: plain for plain, inside in NORMALIZED.items()}
"""A layer with a norm inside → torch's."""

_MEAN_ONLY = tuple(getattr(layers, f"MeanOnlyBatchNorm{rank}d") for rank in _RANKS)

_FROZEN_IN = ("torchvision.ops.misc", "detectron2.layers.batch_norm", "timm.layers.norm_act")
_WITH_CHILDREN = {("timm.layers.norm_act", f"{name}2d") for name in ("BatchNormAct", "FrozenBatchNormAct")}
_PADDED_SAME = {("timm.layers.conv2d_same", "Conv2dSame")}
_MEANINGLESS = {  # what a class may say without a change to what its instances compute
    "__init__",
    "__module__",
    "__doc__",
    "__qualname__",
    "__annotations__",
    "__firstlineno__",
    "__static_attributes__",
    "__constants__",
    "__repr__",
    "extra_repr",
    "reset_parameters",
}
_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def meaning(module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> type[nn.Module] | None:
    """Which of the classes this module computes as: its own, or one of which it changes but the constructor."""
    for base in type(module).__mro__:
        if base in kinds:
            return base
        if vars(base).keys() - _MEANINGLESS:
            return None
    return None


def layer_meaning(module: nn.Module, *, output: bool = False) -> type[nn.Module] | None:
    """Which layer of torch's this computes as; `output`: as far as its output channels go."""
    if output and _place_of(module) in _PADDED_SAME:
        return nn.Conv2d
    return HOLDING.get(type(module)) or meaning(module, LINEAR)


def looks_linear(module: nn.Module) -> bool:
    """Whether this is a linear layer or a convolution, or derived from one."""
    return isinstance(module, nn.Linear | _ConvNd)


def norms_of(model: nn.Module) -> dict[str, nn.Module]:
    """The norms to be looked at: with running statistics, or by their looks, or inside of a layer."""
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        frozen = "FrozenBatchNorm" in type(module).__name__ and not any(module.children())
        if frozen or isinstance(module, _NormBase | Tracking):
            found[name] = module
        elif type(module) in HOLDING and "norm" in module._modules:
            inner = module._modules["norm"]
            if inner is not None and not isinstance(inner, nn.Identity):
                found[f"{name}.norm".lstrip(".")] = inner
    return found


def norm_obstacle(norm: nn.Module) -> str | None:
    """Why a norm is no fixed scale and shift of each channel, as it is; None where it is one."""
    name, frozen = type(norm).__name__, _is_frozen(norm)
    by_name = frozen or _place_of(norm) in _WITH_CHILDREN
    if not by_name and meaning(norm, NORMS) is None:
        if isinstance(norm, NORMS):
            return f"a {name} may do more than its base"
        return f"a {name} is no fixed scale and shift of each channel, as far as is known"
    if not frozen:
        needed = ("running_mean",) if isinstance(norm, _MEAN_ONLY) else ("running_mean", "running_var")
        tracks = norm.track_running_stats or not isinstance(norm, tuple(INSTANCE_NORMS))
        if not tracks or any(norm._buffers.get(each) is None for each in needed):
            return "it has no running statistics: it takes those of the input in evaluation, too"
        if norm.training and not getattr(norm, "statistics_frozen", False):
            return "it is in training mode: call `eval()` first"
    if getattr(norm, "draws", False):
        return "it drops elements in evaluation, too"
    unusual = extras(norm)
    if unusual is not None:
        return unusual
    scale, shift = channel_map(norm)
    if not bool(torch.isfinite(scale).all() and torch.isfinite(shift).all()):
        return "its statistics are no numbers to divide by: a variance is negative, or a value not finite"
    return _probed(norm, scale, shift) if by_name else None


def extras(module: nn.Module) -> str | None:
    """Why a module may do more than its class says; None where it does not."""
    held = vars(module)
    # Hooks of a layer with a norm inside see what goes in and what the norm gives, which both stay.
    if any(held.get(name) for name in HOOKS) and type(module) not in HOLDING:
        return "it has hooks"
    if held["_modules"] and _place_of(module) not in _WITH_CHILDREN and type(module) not in HOLDING:
        return "it has modules of its own"
    replaced = [name for name in held if callable(getattr(type(module), name, None))]
    if replaced:
        return f"its `{min(replaced)}` was replaced"
    for name in ("weight", "bias", "running_mean", "running_var"):
        if name in held:
            return f"its `{name}` is no parameter or buffer"
    for name, tensor in (*held["_parameters"].items(), *held["_buffers"].items()):
        if tensor is not None and type(tensor) not in (Tensor, nn.Parameter):
            return f"its `{name}` is a {type(tensor).__name__}"
    return None


@torch.no_grad()
def channel_map(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Scale and shift of each channel in evaluation, in float64."""
    tensors: dict[str, Any] = {**norm._parameters, **norm._buffers}
    mean = tensors["running_mean"].double()
    eps: Any = getattr(norm, "eps", 1e-5)  # what frozen forms without the attribute have in their code
    if isinstance(norm, _MEAN_ONLY):
        scale = torch.ones_like(mean)
    else:
        scale = 1.0 / (tensors["running_var"].double() + eps).sqrt()
    weight, bias = tensors.get("weight"), tensors.get("bias")
    if weight is not None:
        scale = scale * weight.double()
    shift = -mean * scale
    return scale, shift if bias is None else shift + bias.double()


def leftover(norm: nn.Module) -> nn.Module | None:
    """What a norm does after its scale and shift, as a plain module; None where that is nothing."""
    if isinstance(norm, Fused):
        parts: list[tuple[str, nn.Module]] = []
        if norm.activation != "none":
            parts.append(("activation", _ACTIVATIONS[norm.activation]()))
        if norm.dropout:
            parts.append(("dropout", nn.Dropout(norm.dropout)))
        if len(parts) == 1:
            return parts[0][1].train(norm.training)
        return nn.Sequential(OrderedDict(parts)).train(norm.training) if parts else None
    rest = [(name, child) for name, child in norm.named_children() if type(child) is not nn.Identity]
    # A sequence, also of one, so that what stays keeps its name.
    return nn.Sequential(OrderedDict(rest)).train(norm.training) if rest else None


def norm_axis(norm: nn.Module, axes: int) -> int:
    """Which axis a norm takes for the channels, of an input with so many axes."""
    kind = meaning(norm, tuple(INSTANCE_NORMS))
    return 0 if kind is not None and axes == INSTANCE_NORMS[kind] + 1 else 1


def layer_axis(layer: nn.Module, axes: int) -> int:
    """The axis of a layer's channels, of its input as of its output, where these have so many axes."""
    return axes - 1 if isinstance(layer, nn.Linear) else axes - 1 - positions(layer)


def positions(layer: nn.Module) -> int:
    """The number of axes over which a convolution goes; 0 of a linear layer."""
    return len(layer.kernel_size) if isinstance(layer, _ConvNd | _ConvTransposeNd) else 0


def _place_of(module: nn.Module) -> tuple[str, str]:
    return type(module).__module__, type(module).__qualname__


def _is_frozen(norm: nn.Module) -> bool:
    """Whether this is one of the forms of batch normalization that are four buffers."""
    home, name = _place_of(norm)
    if home not in _FROZEN_IN and not home.startswith("transformers.models."):
        return False
    four = {"weight", "bias", "running_mean", "running_var"}
    held = {name for name, buffer in norm._buffers.items() if buffer is not None} - {"num_batches_tracked"}
    return "FrozenBatchNorm" in name and held == four and not norm._parameters


@torch.no_grad()
def _probed(norm: nn.Module, scale: Tensor, shift: Tensor) -> str | None:
    """Whether a class that is known by name alone does what it is known for."""
    twin = copy.deepcopy(norm).double().eval()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, len(scale), 3, 3, dtype=torch.float64, generator=generator).to(scale.device)
    expected = x * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)
    after = leftover(twin)
    expected = expected if after is None else after.eval()(expected)
    if torch.allclose(twin(x), expected, rtol=1e-10, atol=1e-10):
        return None
    return f"this {type(norm).__name__} is not the scale and shift that its buffers say"
