"""The gradient of a fused normalization in torch's operators: where it is differentiated again, or transformed.

Index convention: values are viewed as (K, N, G, C / G, S), for K stacked models and G groups of channels; layer
normalization shares statistics over axis 3 alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from normwise.kernels.cpu.call import (
    ACROSS,
    FIRST,
    GELU,
    GROUP,
    LEAKY_RELU,
    NONE,
    RELU,
    SILU,
    TANH,
    Call,
)
from normwise.kernels.cpu.portable import load as load_portable

_aten = torch.ops.aten
_SLOPE = 0.01


def gradients(
    call: Call,
    dy: Tensor,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    buffer: Tensor,
    sample_weight: Tensor | None,
    needs: tuple[bool, ...],
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of input, weight, bias and residual, where they are needed; differentiable any number of times.

    ``dx = r · (g − w · (Σ g + x̂ · Σ g · x̂) / W)`` with ``g = dz · weight``: the sums are over the elements that share
    a statistic, w is an element's weight in it (1 without `sample_weight`) and W their sum. Without statistics of the
    input itself the bracket is g.

    Args:
        call: of the forward pass.
        dy: the gradient behind the call.
        x: the input.
        weight: or None for 1.
        bias: or None for 0.
        residual: where it is still needed.
        buffer: what the forward pass left, in the parts of `Call.parts`.
        sample_weight: (N, S), or None for 1.
        needs: which of input, weight, bias and residual need a gradient.
    """
    wide = torch.float64 if x.dtype is torch.float64 else torch.float32
    seen = _view(call, x.to(wide))
    weights = _weights(call, sample_weight, wide)
    mean, r = _statistics(call, seen, weights, buffer)
    hat = (seen - mean) * r
    scale = None if weight is None else _per_channel(call, weight.to(wide))

    dz = _view(call, dy.to(wide))
    if call.gated:
        dz = dz * (_gate_mask(call, x.dtype, buffer).to(wide) * call.keep_scale)
    else:
        if call.threshold:
            dz = dz * (_keep_mask(call, buffer).to(wide) * call.keep_scale)
        if call.activation != NONE:
            z = hat if scale is None else hat * scale
            if bias is not None:
                z = z + _per_channel(call, bias.to(wide))
            if residual is not None:
                z = z + _view(call, residual.to(wide))
            dz = _carry_back(call.activation, z, dz)

    dx = dweight = dbias = None
    if needs[0]:
        g = dz if scale is None else dz * scale
        if call.batch_statistics:
            back = hat * (g * hat).sum(_shared(call), keepdim=True)
            if call.centred:
                back = back + g.sum(_shared(call), keepdim=True)
            g = g - (back / _count(call) if weights is None else back * weights / weights.sum())
        dx = (g * r).reshape(x.shape).to(x.dtype)
    affine = (1, 4) if call.family == ACROSS else (0, 1, 4)
    if needs[1] and weight is not None:
        dweight = (dz * hat).sum(affine).reshape(weight.shape).to(weight.dtype)
    if needs[2] and bias is not None:
        dbias = dz.sum(affine).reshape(bias.shape).to(bias.dtype)
    return dx, dweight, dbias, dz.reshape(x.shape).to(x.dtype) if needs[3] else None


def differentiate(sizes: tuple[Any, ...], *tensors: Any) -> tuple[Tensor | None, ...]:
    """`gradients` for the native binding, which knows a `Call` by its fields."""
    return gradients(Call(*sizes), *tensors)


def _view(call: Call, x: Tensor) -> Tensor:
    """(N, C, *) or (K, N, C, *), or (*, C) where the channels trail, as (K, N, G, C / G, S)."""
    groups = call.groups if call.family != ACROSS else call.channels
    return x.reshape(call.models, call.samples, groups, call.channels // groups, call.positions)


def _per_channel(call: Call, parameter: Tensor) -> Tensor:
    groups = call.groups if call.family != ACROSS else call.channels
    return parameter.reshape(call.models, 1, groups, call.channels // groups, 1)


def _shared(call: Call) -> tuple[int, ...]:
    return (1, 4) if call.family == ACROSS else (3, 4) if call.family == GROUP else (3,)


def _count(call: Call) -> int:
    if call.family == ACROSS:
        return call.samples * call.positions
    return call.channels // call.groups * (call.positions if call.family == GROUP else 1)


def _weights(call: Call, sample_weight: Tensor | None, wide: torch.dtype) -> Tensor | None:
    if sample_weight is None or call.family != ACROSS:
        return None
    return sample_weight.to(wide).reshape(1, call.samples, 1, 1, call.positions)


def _statistics(call: Call, seen: Tensor, weights: Tensor | None, buffer: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and 1 / sqrt(var + eps): of the input, as functions of it, or those that the forward pass left."""
    axes = _shared(call)
    if not call.batch_statistics:
        bytes_ = 3 * call.models * call.channels * seen.element_size()
        high, low, r = buffer[:bytes_].view(seen.dtype).view(3, call.models, 1, call.channels, 1, 1)
        return high + low, r
    if weights is not None:
        share = weights / weights.sum()
        mean = (seen * share).sum(axes, keepdim=True)
        return mean, torch.rsqrt(((seen - mean).square() * share).sum(axes, keepdim=True) + call.eps)
    if not call.centred:
        return torch.zeros_like(seen[:1, :1, :1, :1, :1]), torch.rsqrt(
            seen.square().mean(axes, keepdim=True) + call.eps
        )
    mean = seen.mean(axes, keepdim=True)
    return mean, torch.rsqrt((seen - mean).square().mean(axes, keepdim=True) + call.eps)


def _unpacked(bits: Tensor, width: int) -> Tensor:
    """Bits of integers along a new last axis, the lowest first."""
    return (bits.unsqueeze(-1) >> torch.arange(width, dtype=bits.dtype)) & 1


def _from_memory(call: Call, values: Tensor) -> Tensor:
    """Values in the order in which the input lies, as (K, N, G, C / G, S)."""
    if call.layout == FIRST:
        return _view(call, values)
    lying = values.reshape(call.models, call.samples, call.positions, call.channels)
    return _view(call, lying.transpose(2, 3))


def _gate_mask(call: Call, dtype: torch.dtype, buffer: Tensor) -> Tensor:
    # Only the kernels know how its bits lie: what passes of a gradient of ones is read off the residual's.
    ones = torch.ones(call.models * call.elements, dtype=dtype, device="cpu")
    passed = torch.empty_like(ones)
    start, one = buffer.data_ptr(), ones.data_ptr()
    sizes, keep_scale = call.leading[:-1], 1.0
    pointers = (one, 0, 0, start, start + call.parts[0], 0, one, 0, passed.data_ptr(), 0, 0)
    kernels, _ = load_portable()
    kernels.norm_backward(*sizes, keep_scale, *pointers)
    return _from_memory(call, passed)


def _keep_mask(call: Call, buffer: Tensor) -> Tensor:
    keep = buffer[call.parts[1] : call.parts[2] - 16]
    bits = _unpacked(keep.view(call.models, -1), 8).flatten(1)
    return _from_memory(call, bits[:, : call.elements].contiguous())


def _carry_back(activation: int, z: Tensor, dz: Tensor) -> Tensor:
    """The gradient behind an activation, carried to its input z."""
    carried: Tensor
    if activation == RELU:
        carried = _aten.threshold_backward(dz, z, 0)
    elif activation == LEAKY_RELU:
        carried = _aten.leaky_relu_backward(dz, z, _SLOPE, False)
    elif activation == GELU:
        carried = _aten.gelu_backward(dz, z)
    elif activation == SILU:
        gate = torch.sigmoid(z)  # aten's own rule has no derivative
        carried = dz * gate * (1 + z * (1 - gate))
    elif activation == TANH:
        carried = _aten.tanh_backward(dz, torch.tanh(z))
    else:
        carried = _aten.sigmoid_backward(dz, torch.sigmoid(z))
    return carried
