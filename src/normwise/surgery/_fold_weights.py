"""A scale and shift of each channel taken into the weights of the layer before or behind it.

Computed in float64 and rounded once. With groups the channels of a weight's first axis, (G·O, I, *), or of a transposed
one's, (G·I, O, *), are seen as (G, O, I, *) and (G, I, O, *): O and I are the output and input channels of a group.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from normwise.surgery._fold_known import TRANSPOSED, channel_map, meaning


class UnfoldableError(Exception):
    """Values that cannot be folded; its text is the reason."""


@torch.no_grad()
def fold_behind(layer: nn.Module, scale: Tensor, shift: Tensor) -> None:
    """Let a layer do what a norm behind it did: the weight of each output channel is scaled."""
    weight, shape, inner = _grouped(layer)
    view = (_groups(layer), 1, -1) if _is_transposed(layer) else (_groups(layer), -1, 1)
    new = weight * scale.view(*view, *(1,) * inner)
    bias: Tensor | None = layer._parameters["bias"]
    _set(layer, new.reshape(shape), shift if bias is None else bias.double() * scale + shift)


@torch.no_grad()
def fold_before(layer: nn.Module, scale: Tensor, shift: Tensor) -> None:
    """Let a layer do what a norm before it did, away from the zeros that it pads with."""
    weight, shape, inner = _grouped(layer)
    transposed = _is_transposed(layer)
    view = (_groups(layer), -1, 1) if transposed else (_groups(layer), 1, -1)
    factors, shifts = (each.view(*view, *(1,) * inner) for each in (scale, shift))
    axes = (1 if transposed else 2, *range(3, 3 + inner))
    more = (weight * shifts).sum(dim=axes).reshape(-1)
    bias: Tensor | None = layer._parameters["bias"]
    # Also of a shift of nothing: which keys a folded model has is not up to the values of its norms.
    new = more if bias is None else bias.double() + more
    _set(layer, (weight * factors).reshape(shape), new)


@torch.no_grad()
def fold_into_norm(norm: nn.Module, scale: Tensor, shift: Tensor) -> None:
    """Let a norm do what another one before it did.

    ``s₂ (s x + t − m) + b = s₂ s (x − (m − t)/s) + b``: the mean moves into the first one's input, where no digits are
    lost to a difference of large numbers; a channel that the first one makes constant is a bias.
    """
    own_scale, own_shift = channel_map(norm)
    mean, old = norm._buffers["running_mean"], norm._parameters.get("weight")
    if mean is None:
        raise UnfoldableError("it has no running statistics")
    alive = scale != 0
    moved = torch.where(alive, (mean.double() - shift) / torch.where(alive, scale, 1.0), 0.0)
    constant = own_scale * shift + own_shift
    bias = norm._parameters.get("bias")
    kept = torch.zeros_like(constant) if bias is None else bias.double()
    weight = scale.clone() if old is None else old.double() * scale
    like = old if old is not None else mean
    grad = old is None or old.requires_grad
    norm._parameters["weight"] = nn.Parameter(_rounded(weight, like.dtype), requires_grad=grad)
    norm._parameters["bias"] = nn.Parameter(
        _rounded(torch.where(alive, kept, constant), like.dtype), requires_grad=grad
    )
    norm._buffers["running_mean"] = _rounded(moved, mean.dtype)
    vars(norm)["affine"] = True


def border_value(scale: Tensor, shift: Tensor) -> Tensor | None:
    """What a norm maps to zero, channel by channel; None where there is no such value."""
    silent = (scale == 0) & (shift != 0)
    return (
        None
        if bool(silent.any())
        else torch.where(scale == 0, 0.0, -shift / torch.where(scale == 0, 1.0, scale))
    )


def _grouped(layer: nn.Module) -> tuple[Tensor, torch.Size, int]:
    """The weight in float64, groups on an axis of their own; its shape; how many axes a kernel has."""
    weight: Any = layer._parameters["weight"]
    groups = _groups(layer)
    split = weight.detach().double().reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    return split, weight.shape, weight.dim() - 2


def _groups(layer: nn.Module) -> int:
    return int(getattr(layer, "groups", 1))


def _is_transposed(layer: nn.Module) -> bool:
    return meaning(layer, TRANSPOSED) is not None


def _set(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> None:
    """Give a layer new parameters; the old ones stay what they are for whoever else has them."""
    old: Any = layer._parameters["weight"]
    old_bias: Any = layer._parameters["bias"]
    like = old if old_bias is None else old_bias
    values = _rounded(weight, old.dtype)
    if old.dim() > 2 and old.is_contiguous(memory_format=_last(old)) and not old.is_contiguous():
        values = values.contiguous(memory_format=_last(old))
    new_bias = None if bias is None else _rounded(bias, like.dtype)
    layer._parameters["weight"] = nn.Parameter(values, requires_grad=old.requires_grad)
    if new_bias is not None:
        layer._parameters["bias"] = nn.Parameter(new_bias, requires_grad=like.requires_grad)


def _last(weight: Tensor) -> torch.memory_format:
    return {4: torch.channels_last, 5: torch.channels_last_3d}.get(weight.dim(), torch.contiguous_format)


def _rounded(values: Tensor, dtype: torch.dtype) -> Tensor:
    rounded = values.to(dtype)
    if not bool(torch.isfinite(rounded).all()):
        raise UnfoldableError(f"the folded weights are not finite in {str(dtype).removeprefix('torch.')}")
    return rounded
