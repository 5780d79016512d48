"""Checks of what a layer gives: against its twin, over dtypes, layouts and modes."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import torch
from torch import Tensor

from normwise.kernels.registry import use_backend
from normwise.testing._case import LayerCase, cotangent, draws, randomized, require, run, step
from normwise.testing.tolerance import assert_close

_FORMATS = {4: (torch.channels_last,), 5: (torch.channels_last_3d,)}


def twin(case: LayerCase) -> None:
    """Outputs, gradients and buffers are those of torch's layer, in both modes, over two steps.

    The masks of a layer that draws are torch's only where torch's operators run. What a layer counts beside its
    state_dict, its twin need not have.
    """
    if case.twin is None:
        return
    torchs = draws(case)
    for training in (True, False):
        ours, theirs = case.layer(training=training), randomized(case.twin()).train(training)
        for seed in (0, 1):
            with use_backend("aten") if torchs else nullcontext():
                mine = step(ours, case.input(seed=seed))
            other = step(theirs, case.input(seed=seed))
            aside = {f"buffer {name}" for name, _ in ours.named_buffers() if name not in ours.state_dict()}
            require(mine.keys() - aside == other.keys(), f"{sorted(mine)} instead of {sorted(other)}")
            for name, value in other.items():
                assert_close(mine[name], value, what=f"{name} (training={training}, step {seed})")


def dtypes(case: LayerCase) -> None:
    """The output has the input's dtype, and in narrow dtypes the values of float64 on the same numbers."""
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        layer, input = case.layer(dtype), case.input(dtype)
        wide = copy.deepcopy(layer).double()
        output = run(layer, input)
        require(output.dtype == dtype, f"{dtype} gives {output.dtype}")
        if not draws(case):
            assert_close(output, run(wide, input.double()), what=f"output in {dtype}")


def autocast(case: LayerCase) -> None:
    """Under autocast the output's dtype is the twin's, and its values are finite."""
    input = case.input()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = run(case.layer(), input)
        require(bool(output.isfinite().all()), "values that are not finite")
        if case.twin is not None:
            expected = run(randomized(case.twin()), input).dtype
            require(output.dtype == expected, f"{output.dtype}, the twin gives {expected}")


def layout(case: LayerCase) -> None:
    """The output has the input's layout, contiguous or channels last; values and gradients do not depend on it."""
    memory_formats = [torch.contiguous_format, *_FORMATS.get(len(case.shape), ())]
    results = []
    for memory_format in memory_formats:
        input = case.input().contiguous(memory_format=memory_format).requires_grad_()
        output = run(case.layer(), input)
        require(output.is_contiguous(memory_format=memory_format), f"{memory_format} is lost")
        (gradient,) = torch.autograd.grad(output, input, cotangent(output))
        results.append((output, gradient))
    if not draws(case):
        for name, actual, expected in zip(("output", "gradient"), results[-1], results[0], strict=True):
            assert_close(actual, expected, what=f"{name} in {memory_formats[-1]}")


def gradient_layout(case: LayerCase) -> None:
    """Gradients do not depend on how the incoming one lies: expanded, swapped, channels last, negated lazily."""
    formats = [torch.contiguous_format, *_FORMATS.get(len(case.shape), ())]
    for memory_format in formats:
        input = case.input().contiguous(memory_format=memory_format)
        dense = cotangent(run(case.layer(), input))
        swapped = dense.transpose(0, -1).contiguous().transpose(0, -1)
        incoming = [swapped, dense[:1].expand_as(dense), dense.flatten()[0].expand_as(dense), _negated(dense)]
        incoming += [dense.contiguous(memory_format=other) for other in formats]
        for gradient in incoming:
            ours = step(case.layer(), input.clone(), gradient)
            copied = gradient.clone(memory_format=torch.preserve_format).resolve_neg()
            other = step(
                case.layer(), input.clone(), torch.empty_like(run(case.layer(), input)).copy_(copied)
            )
            for name, value in other.items():
                what = f"{name} for a gradient of strides {gradient.stride()}, input of {input.stride()}"
                # An expanded gradient of a normalization may cancel to rounding errors of its terms.
                assert_close(ours[name], value, what=what, scale=1.0)


def _negated(values: Tensor) -> Tensor:
    """The values with torch's bit for a negation that was put off."""
    negative: Tensor = torch.complex(torch.zeros_like(values), -values).conj().imag
    return negative


def empty(case: LayerCase) -> None:
    """A batch of no samples gives no samples, and leaves finite buffers and gradients."""
    for training in (True, False):
        layer = case.layer(training=training)
        input = torch.empty(0, *case.shape[1:], requires_grad=True)
        output = run(layer, input)
        require(output.shape[0] == 0, f"output of shape {tuple(output.shape)}")
        output.backward(torch.empty_like(output))  # type: ignore[no-untyped-call]
        for name, value in (*layer.named_buffers(), *((n, p.grad) for n, p in layer.named_parameters())):
            require(value is None or bool(value.isfinite().all()), f"{name} is not finite")


def non_contiguous(case: LayerCase) -> None:
    """Strides do not matter: a view with gaps and swapped axes gives what its copy gives, but for random numbers."""
    input = case.input()
    gaps = torch.empty(*(2 * size for size in case.shape)).transpose(0, -1)
    view = gaps[tuple(slice(None, None, 2) for _ in case.shape)].transpose(0, -1).copy_(input)
    require(not view.is_contiguous(), "the shape has a single element; give a larger one")
    for training in (True, False):
        output = run(case.layer(training=training), view)
        require(case.changes_shape or output.shape == view.shape, f"output of shape {tuple(output.shape)}")
        if not (training and draws(case)):
            expected = run(case.layer(training=training), input)
            assert_close(output, expected, what=f"output of a strided view (training={training})")


def modes(case: LayerCase) -> None:
    """`eval` is deterministic and moves no buffer; the input stays as it is; the shape is as promised."""
    for training in (True, False):
        layer, input = case.layer(training=training), case.input()
        before = {name: buffer.clone() for name, buffer in layer.named_buffers()}
        output = run(layer, input)
        require(torch.equal(input, case.input()), "the input is changed")
        require(case.changes_shape or output.shape == input.shape, f"output of shape {tuple(output.shape)}")
        if training:
            continue
        require(torch.equal(run(layer, input, seed=1), output), "evaluation is not deterministic")
        for name, buffer in layer.named_buffers():
            require(torch.equal(buffer, before[name]), f"evaluation moves {name}")
