"""Dropout whose mask is computed from a seed in both passes, under an autograd function: nothing else is saved."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from normwise.kernels.cpu import library
from normwise.kernels.cpu.call import like
from normwise.kernels.cpu.normalize import draw_seeds
from normwise.kernels.gate import is_plain_cpu


def dropout(
    input: Tensor, rate: float, inplace: bool, models: int, generator: torch.Generator | None
) -> Tensor:
    """Drop elements of an input that lies densely; `normwise.kernels.cpu.accepts_dropout` has said yes."""
    seeds = draw_seeds(models, generator)
    threshold = min(round(rate * 65536), 65535)
    if torch.is_grad_enabled() and input.requires_grad:
        output: Tensor = _Dropout.apply(input, seeds, threshold, inplace)  # type: ignore[no-untyped-call]
        return output
    output = input if inplace else torch.empty_like(input)
    _run(input, output, seeds, threshold)
    if inplace:
        torch.autograd.graph.increment_version(output)
    return output


def _run(x: Tensor, y: Tensor, seeds: Tensor, threshold: int) -> None:
    models = seeds.numel()
    library.portable().dropout(
        library._DTYPES[x.dtype],
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
        y = x if inplace else torch.empty_like(x)
        _run(x, y, seeds, threshold)
        ctx.seeds, ctx.threshold, ctx.strides = seeds, threshold, x.stride()
        return y

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        (dy,) = cotangents
        shape_like = torch.empty_strided(dy.shape, ctx.strides, dtype=dy.dtype)
        if not is_plain_cpu(dy):
            # A transform of the backward pass: the mask as a tensor.
            _run(torch.ones_like(shape_like), shape_like, ctx.seeds, ctx.threshold)
            return dy * shape_like, None, None, None
        if torch.is_grad_enabled() and dy.requires_grad:
            again: Tensor = _Again.apply(like(dy, shape_like), ctx.seeds, ctx.threshold)  # type: ignore[no-untyped-call]
            return again, None, None, None
        _run(like(dy, shape_like), shape_like, ctx.seeds, ctx.threshold)
        return shape_like, None, None, None


class _Again(_Dropout):
    """The mask of an earlier call, for derivatives of its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, seeds: Tensor, threshold: int) -> Tensor:  # type: ignore[override]
        return _Dropout.forward(ctx, x, seeds, threshold, False)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        return _Dropout.backward(ctx, *cotangents)[:3]
