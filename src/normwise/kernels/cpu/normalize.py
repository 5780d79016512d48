"""Normalization, residual, activation and dropout in one pass, under an autograd function."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from normwise.kernels.cpu import library
from normwise.kernels.cpu.call import DTYPES, Call, version_of
from normwise.kernels.cpu.formula import gradients
from normwise.kernels.cpu.outputs import like, output_like
from normwise.kernels.gate import is_plain_gradient

State = tuple[
    float,
    Tensor | None,
    Tensor | None,
    bool,
    Tensor | None,
    Tensor | None,
    Tensor | None,
    torch.Generator | None,
]
"""Momentum, running mean, running variance, whether that is biased, counters of batches and of skipped ones, sample
weights, generator."""

_grad_enabled = torch.is_grad_enabled
_empty_like = torch.empty_like
_increment_version = torch._C._increment_version


def normalize(
    call: Call, x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None, state: State
) -> Tensor:
    """Run the portable kernel on tensors that `normwise.kernels.cpu` has found fit.

    The running statistics and the counters in `state` are moved; their version counters go up.
    """
    if _grad_enabled() and (
        x.requires_grad
        or (weight is not None and weight.requires_grad)
        or (bias is not None and bias.requires_grad)
        or (residual is not None and residual.requires_grad)
    ):
        output: Tensor = _apply(x, weight, bias, residual, call, state)  # type: ignore[no-untyped-call]
        return output
    return _forward(call, x, weight, bias, residual, state)[0]


def draw_seeds(models: int, generator: torch.Generator | None) -> Tensor:
    """A seed for each model out of torch's generator, so that `torch.manual_seed` determines the masks."""
    return _empty_like(_seeds(models)).random_(generator=generator)


@functools.cache
def _seeds(models: int) -> Tensor:
    return torch.empty(1, dtype=torch.int64, device="cpu").expand(models)


def _forward(
    call: Call, x: Tensor, weight: Tensor | None, bias: Tensor | None, residual: Tensor | None, state: State
) -> tuple[Tensor, Tensor]:
    momentum, mean, var, biased, batches, skipped, sample_weight, generator = state
    running = var if mean is None else mean
    kernels = library.portable()
    gate, keep, _ = call.parts
    y = output_like(x)
    buffer = _empty_like(call.buffer)
    start = buffer.data_ptr()
    keep_at = 0
    if call.threshold:
        # The gate takes the bits up: they are not kept beside it.
        bits = x.new_empty(call.keep_bytes, dtype=torch.uint8) if call.gated else buffer
        keep_at = bits.data_ptr() if call.gated else start + keep
        seeds = draw_seeds(call.models, generator)
        kernels.keep(call.models, call.elements, seeds.data_ptr(), 0, call.threshold, keep_at)
    kernels.norm_forward(
        *call.leading,
        x.data_ptr(),
        0 if residual is None else residual.data_ptr(),
        0 if sample_weight is None else sample_weight.data_ptr(),
        start,
        start + gate if call.gated else 0,
        keep_at,
        call.eps,
        momentum,
        0 if weight is None else weight.data_ptr(),
        0 if bias is None else bias.data_ptr(),
        0 if mean is None else mean.data_ptr(),
        0 if var is None else var.data_ptr(),
        call.dtype if running is None else DTYPES[running.dtype],
        biased,
        0 if batches is None else batches.data_ptr(),
        0 if skipped is None else skipped.data_ptr(),
        y.data_ptr(),
    )
    if call.batch_statistics and (mean is not None or var is not None or batches is not None):
        _increment_version([t for t in (mean, var, batches, skipped) if t is not None])
    return y, buffer


class _Normalize(torch.autograd.Function):
    """The kernel and its backward; where a second derivative is asked for, the gradient's formula."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        residual: Tensor | None,
        call: Call,
        state: State,
    ) -> Tensor:
        y, buffer = _forward(call, x, weight, bias, residual, state)
        # With a gate, or no activation, the gradient does not depend on the residual.
        ctx.save_for_backward(x, buffer, None if call.gated or not call.activation else residual, state[6])
        ctx.set_materialize_grads(False)
        ctx.call = call
        # Copies of both are in the buffer; the tensors themselves are only for a second derivative.
        ctx.affine = (weight, bias, version_of(weight), version_of(bias))
        return y

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        (dy,) = cotangents
        if dy is None:
            return (None,) * 6
        x, buffer, residual, sample_weight = ctx.saved_tensors
        call: Call = ctx.call
        weight, bias, weight_version, bias_version = ctx.affine
        needs_x, needs_weight, needs_bias, needs_residual, _, _ = needs = ctx.needs_input_grad
        if _grad_enabled() or not is_plain_gradient(dy):
            if weight_version != version_of(weight) or bias_version != version_of(bias):
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an inplace "
                    "operation: weight or bias of a normalization whose gradient is to be differentiated"
                )
            found = gradients(call, dy, x, weight, bias, residual, buffer, sample_weight, needs)
            return *found, None, None
        dy = like(dy, x)
        dx = output_like(x) if needs_x else None
        dweight = _empty_like(weight) if needs_weight else None
        dbias = _empty_like(bias) if needs_bias else None
        dresidual = output_like(x) if needs_residual else None
        gate, keep, _ = call.parts
        start = buffer.data_ptr()
        library.portable().norm_backward(
            *call.leading,
            x.data_ptr(),
            0 if residual is None else residual.data_ptr(),
            0 if sample_weight is None else sample_weight.data_ptr(),
            start,
            start + gate if call.gated else 0,
            start + keep if call.threshold and not call.gated else 0,
            dy.data_ptr(),
            0 if dx is None else dx.data_ptr(),
            0 if dresidual is None else dresidual.data_ptr(),
            0 if dweight is None else dweight.data_ptr(),
            0 if dbias is None else dbias.data_ptr(),
        )
        return dx, dweight, dbias, dresidual, None, None


# Past torch's own `apply`, which looks for transforms: the gate has, and looking takes a third of an empty call's time.
_apply = super(torch.autograd.Function, _Normalize).apply
