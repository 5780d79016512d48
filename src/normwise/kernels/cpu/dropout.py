"""Dropout whose mask is computed from a seed in both passes, under an autograd function: nothing else is saved."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from normwise.kernels.cpu import library
from normwise.kernels.cpu.call import DTYPES, threshold_of
from normwise.kernels.cpu.normalize import draw_seeds
from normwise.kernels.cpu.outputs import like, output_like, output_strided
from normwise.kernels.gate import is_plain_gradient


def dropout(
    input: Tensor, rate: float, inplace: bool, models: int, generator: torch.Generator | None
) -> Tensor:
    """Drop elements of an input that `normwise.kernels.cpu` has found fit."""
    seeds = draw_seeds(models, generator)
    threshold = threshold_of(rate)
    if torch.is_grad_enabled() and input.requires_grad:
        output: Tensor = _Dropout.apply(input, seeds, threshold, inplace)  # type: ignore[no-untyped-call]
        return output
    output = input if inplace else output_like(input)
    _run(input, output, seeds, threshold)
    if inplace:
        torch.autograd.graph.increment_version(output)
    return output


def _run(x: Tensor, y: Tensor, seeds: Tensor, threshold: int) -> None:
    models = seeds.numel()
    library.portable().dropout(
        DTYPES[x.dtype],
        models,
        x.numel() // models,
        seeds.data_ptr(),
        0,
        threshold,
        65536 / (65536 - threshold),
        x.data_ptr(),
        y.data_ptr(),
    )


class _Dropout(torch.autograd.Function):
    """The same kernel forward and backward: the map is linear and its own transpose."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, seeds: Tensor, threshold: int, inplace: bool) -> Tensor:
        if inplace:
            ctx.mark_dirty(x)
        y = x if inplace else output_like(x)
        _run(x, y, seeds, threshold)
        ctx.set_materialize_grads(False)
        ctx.seeds, ctx.threshold, ctx.strides = seeds, threshold, x.stride()
        return y

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        (dy,) = cotangents
        if dy is None:
            return None, None, None, None
        as_it_lay = output_strided(dy.shape, ctx.strides, dy.dtype)
        if not is_plain_gradient(dy):
            # A transform of the backward pass: the mask as a tensor.
            _run(torch.ones_like(as_it_lay), as_it_lay, ctx.seeds, ctx.threshold)
            return dy * as_it_lay, None, None, None
        if torch.is_grad_enabled() and dy.requires_grad:
            again: Tensor = _Again.apply(like(dy, as_it_lay), ctx.seeds, ctx.threshold)  # type: ignore[no-untyped-call]
            return again, None, None, None
        _run(like(dy, as_it_lay), as_it_lay, ctx.seeds, ctx.threshold)
        return as_it_lay, None, None, None


class _Again(_Dropout):
    """The mask of an earlier call, for derivatives of its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, seeds: Tensor, threshold: int) -> Tensor:  # type: ignore[override]
        return _Dropout.forward(ctx, x, seeds, threshold, False)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        return _Dropout.backward(ctx, *cotangents)[:3]
