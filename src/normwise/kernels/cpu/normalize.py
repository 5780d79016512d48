"""Normalization, residual, activation and dropout in one pass, under an autograd function."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from normwise.kernels.cpu import library
from normwise.kernels.cpu.call import ACTIVATIONS, Call, address, like, version_of
from normwise.kernels.cpu.formula import gradients
from normwise.kernels.gate import is_plain_cpu

_grad_enabled = torch.is_grad_enabled
_DTYPES = library._DTYPES
_Saved = tuple[Tensor, Tensor | None, Tensor | None]


def normalize(
    call: Call, x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None
) -> Tensor:
    """Run the portable kernel; `normwise.kernels.cpu.accepts` has said yes.

    The running statistics and the counter in `call` are moved; their version counters go up.
    """
    if _grad_enabled() and (
        x.requires_grad
        or (weight is not None and weight.requires_grad)
        or (bias is not None and bias.requires_grad)
        or (residual is not None and residual.requires_grad)
    ):
        output: Tensor = _Normalize.apply(x, weight, bias, residual, call)  # type: ignore[no-untyped-call]
        return output
    return _forward(call, x, weight, bias, residual)[0]


def keep_bits(models: int, elements: int, threshold: int, seeds: Tensor) -> Tensor:
    """One bit an element, in memory order; a model's are padded to 128, and 16 bytes follow the last."""
    bits = torch.empty(models * (-(-elements // 128) * 16) + 16, dtype=torch.uint8)
    library.portable().keep(models, elements, seeds.data_ptr(), 0, threshold, bits.data_ptr())
    return bits


def draw_seeds(models: int, generator: torch.Generator | None) -> Tensor:
    """A seed for each model out of torch's generator, so that `torch.manual_seed` determines the masks."""
    return torch.empty(models, dtype=torch.int64).random_(generator=generator)


def _common(call: Call, x: Tensor, residual: Tensor | None, saved: _Saved, dtype: int) -> tuple[Any, ...]:
    values, gate, keep = saved
    return (
        call.family,
        _DTYPES[x.dtype],
        call.layout,
        ACTIVATIONS[call.activation],
        dtype,
        call.batch_statistics,
        call.centred,
        call.models,
        call.samples,
        call.channels,
        call.positions,
        call.groups,
        call.keep_scale,
        x.data_ptr(),
        address(residual),
        address(call.sample_weight),
        values.data_ptr(),
        address(gate),
        address(keep),
    )


def _parameter_dtype(call: Call, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> torch.dtype:
    for tensor in (weight, bias, call.running_mean, call.running_var):
        if tensor is not None:
            return tensor.dtype
    return x.dtype


def _forward(
    call: Call, x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None
) -> tuple[Tensor, _Saved]:
    wide = torch.float64 if x.dtype is torch.float64 else torch.float32
    values = torch.empty(call.saved_elements, dtype=wide)
    gate = keep = None
    if residual is not None and call.activation == "relu":
        gate = torch.empty(call.gate_words, dtype=torch.int16)
    if call.rate:
        keep = keep_bits(call.models, call.elements, call.threshold, draw_seeds(call.models, call.generator))
    y = torch.empty_like(x)
    tracked = call.running_mean if call.batch_statistics else None
    library.portable().norm_forward(
        *_common(call, x, residual, (values, gate, keep), _DTYPES[_parameter_dtype(call, x, weight, bias)]),
        call.eps,
        call.momentum,
        address(weight),
        address(bias),
        address(call.running_mean),
        address(call.running_var),
        address(call.batches),
        y.data_ptr(),
    )
    if tracked is not None or call.batches is not None:
        moved = (call.running_mean, call.running_var, call.batches)
        increment_version([t for t in moved if t is not None and not t.is_inference()])
    return y, (values, gate, keep)


class _Normalize(torch.autograd.Function):
    """The kernel and its backward; where a second derivative is asked for, the gradient's formula."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None, call: Call
    ) -> Tensor:
        y, (values, gate, keep) = _forward(call, x, weight, bias, residual)
        if gate is not None:
            keep = None  # it is in the gate
        kept = residual if gate is None and call.activation != "none" else None
        ctx.save_for_backward(x, values, gate, keep, kept)
        ctx.call = call
        # Copies of both are in `values`; the tensors themselves are only for a second derivative.
        ctx.affine = (weight, bias)
        ctx.versions = (version_of(weight), version_of(bias))
        return y

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        (dy,) = cotangents
        x, values, gate, keep, residual = ctx.saved_tensors
        call: Call = ctx.call
        weight, bias = ctx.affine
        if _grad_enabled() or not is_plain_cpu(dy):
            if ctx.versions != (version_of(weight), version_of(bias)):
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an inplace "
                    "operation: weight or bias of a normalization whose gradient is to be differentiated"
                )
            return *gradients(
                call, dy, x, weight, bias, residual, values, gate, keep, ctx.needs_input_grad
            ), None
        needs_x, needs_weight, needs_bias, needs_residual, _ = ctx.needs_input_grad
        dy = like(dy, x)
        dx = torch.empty_like(x) if needs_x else None
        dweight = torch.empty_like(weight) if needs_weight else None
        dbias = torch.empty_like(bias) if needs_bias else None
        dresidual = torch.empty_like(x) if needs_residual else None
        library.portable().norm_backward(
            *_common(
                call, x, residual, (values, gate, keep), _DTYPES[_parameter_dtype(call, x, weight, bias)]
            ),
            dy.data_ptr(),
            address(dx),
            address(dresidual),
            address(dweight),
            address(dbias),
        )
        return dx, dweight, dbias, dresidual, None
