"""The reference against the formulas coded a second way: NumPy forward, autograd for the derivative."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray

from normwise import reference
from normwise.geometry import Geometry

Array = NDArray[np.float64]
EXAMPLES = settings(max_examples=25, deadline=None, derandomize=True)
SHAPES = st.tuples(st.integers(1, 4), st.sampled_from([2, 4, 6]), st.integers(1, 3), st.integers(2, 4))


def numbers(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 + 3


def numpy_group(x: Array, groups: int, weight: Array, bias: Array, eps: float) -> Array:
    result = np.empty_like(x)
    size = x.shape[1] // groups
    for n in range(x.shape[0]):
        for g in range(groups):
            part = slice(g * size, (g + 1) * size)
            block = x[n, part]
            result[n, part] = (block - block.mean()) / np.sqrt(block.var() + eps)
    return result * weight[:, None, None] + bias[:, None, None]


@EXAMPLES
@given(SHAPES, st.sampled_from([1, 2]), st.integers(0, 99))
def test_group_and_instance(shape: tuple[int, ...], groups: int, seed: int) -> None:
    x, weight, bias = numbers(shape, seed), numbers((shape[1],), seed + 1), numbers((shape[1],), seed + 2)
    for geometry, count in (
        (Geometry.group(shape, groups), groups),
        (Geometry.instance(shape), shape[1]),
    ):
        actual = reference.within_sample(x, geometry, weight, bias, eps=1e-3)
        expected = numpy_group(x.numpy(), count, weight.numpy(), bias.numpy(), 1e-3)
        np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-11, atol=1e-11)


@EXAMPLES
@given(SHAPES, st.integers(0, 99))
def test_layer_and_rms(shape: tuple[int, ...], seed: int) -> None:
    x, weight, bias = numbers(shape, seed), numbers(shape[2:], seed + 1), numbers(shape[2:], seed + 2)
    a, w, b = x.numpy(), weight.numpy(), bias.numpy()
    layer = reference.within_sample(x, Geometry.layer(shape, shape[2:]), weight, bias, eps=1e-3)
    spread = np.sqrt(a.var(axis=(2, 3), keepdims=True) + 1e-3)
    np.testing.assert_allclose(
        layer.numpy(), (a - a.mean(axis=(2, 3), keepdims=True)) / spread * w + b, rtol=1e-11
    )
    rms = reference.within_sample(x, Geometry.rms(shape, shape[2:]), weight, eps=1e-3)
    np.testing.assert_allclose(
        rms.numpy(), a / np.sqrt((a**2).mean(axis=(2, 3), keepdims=True) + 1e-3) * w, rtol=1e-11
    )


@EXAMPLES
@given(SHAPES, st.integers(0, 99))
def test_over_channels(shape: tuple[int, ...], seed: int) -> None:
    x, weight, bias = numbers(shape, seed), numbers((shape[1],), seed + 1), numbers((shape[1],), seed + 2)
    a = x.numpy()
    w, b = weight.numpy()[:, None, None], bias.numpy()[:, None, None]
    layer = reference.within_sample(x, Geometry.layer_over_channels(shape), weight, bias, eps=1e-3)
    spread = np.sqrt(a.var(axis=1, keepdims=True) + 1e-3)
    np.testing.assert_allclose(
        layer.numpy(), (a - a.mean(axis=1, keepdims=True)) / spread * w + b, rtol=1e-11
    )
    rms = reference.within_sample(x, Geometry.layer_over_channels(shape, centred=False), weight, eps=1e-3)
    np.testing.assert_allclose(
        rms.numpy(), a / np.sqrt((a**2).mean(axis=1, keepdims=True) + 1e-3) * w, rtol=1e-11
    )


@EXAMPLES
@given(SHAPES, st.integers(0, 99))
def test_batch(shape: tuple[int, ...], seed: int) -> None:
    x, weight, bias = numbers(shape, seed), numbers((shape[1],), seed + 1), numbers((shape[1],), seed + 2)
    zeros = torch.zeros(shape[1], dtype=torch.float64)
    output, mean, var = reference.across_samples(
        x, Geometry.batch(shape), zeros, zeros, weight, bias, momentum=0.5, eps=1e-3
    )
    assert mean is not None
    assert var is not None
    a = x.numpy()
    for c in range(shape[1]):
        channel = a[:, c]
        normal = (channel - channel.mean()) / np.sqrt(channel.var() + 1e-3)
        np.testing.assert_allclose(
            output[:, c].numpy(), normal * weight[c].item() + bias[c].item(), rtol=1e-10, atol=1e-11
        )
        np.testing.assert_allclose(mean[c].item(), channel.mean() / 2, rtol=1e-12)
        np.testing.assert_allclose(var[c].item(), channel.var(ddof=1) / 2, rtol=1e-12)


def test_given_statistics() -> None:
    x, mean, var = numbers((5, 3, 2), 0), numbers((3,), 1), numbers((3,), 2).abs()
    result = reference.across_samples(x, Geometry.batch(x.shape), mean, var, training=False, eps=1e-3)
    expected = (x.numpy() - mean.numpy()[:, None]) / np.sqrt(var.numpy()[:, None] + 1e-3)
    np.testing.assert_allclose(result.output.numpy(), expected, rtol=1e-12, atol=1e-13)
    assert result.running_mean is mean
    assert result.running_var is var


def test_a_mean_far_above_the_spread_costs_no_digits() -> None:
    x = numbers((64, 3), 0) + 1e8
    _, var = reference.moments(x, Geometry.batch(x.shape))
    np.testing.assert_allclose(var.flatten().numpy(), (x - 1e8).numpy().var(axis=0), rtol=1e-7)


def test_narrow_inputs_are_answered_in_float64() -> None:
    x = numbers((4, 6), 0).to(torch.bfloat16)
    actual = reference.within_sample(x, Geometry.layer(x.shape, (6,)))
    assert actual.dtype == torch.float64
    assert torch.equal(actual, reference.within_sample(x.double(), Geometry.layer(x.shape, (6,))))


@pytest.mark.parametrize(
    "make",
    [
        lambda s: Geometry.batch(s),
        lambda s: Geometry.group(s, 2),
        lambda s: Geometry.instance(s),
        lambda s: Geometry.layer(s, s[2:]),
        lambda s: Geometry.layer_over_channels(s),
        lambda s: Geometry.rms(s, s[2:]),
        lambda s: Geometry.layer_over_channels(s, centred=False),
    ],
    ids=["batch", "group", "instance", "layer", "over channels", "rms", "rms over channels"],
)
def test_the_written_derivative_is_that_of_autograd(make: Callable[[tuple[int, ...]], Geometry]) -> None:
    shape = (3, 4, 2, 3)
    geometry = make(shape)
    x = numbers(shape, 0).requires_grad_()
    weight = numbers((geometry.channels,), 1).requires_grad_()
    bias = numbers((geometry.channels,), 2).requires_grad_()
    if geometry.across_samples:
        output = reference.across_samples(x, geometry, weight=weight, bias=bias).output
    else:
        output = reference.within_sample(x, geometry, weight, bias)
    cotangent = numbers(shape, 3) - 3
    expected = torch.autograd.grad(output, (x, weight, bias), cotangent)
    actual = reference.normalize_backward(cotangent, x.detach(), geometry, weight.detach())
    for mine, other in zip(actual, expected, strict=True):
        assert other.abs().max() > 0.1
        np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=1e-9, atol=1e-11)


def test_weight_norm() -> None:
    v, gain = numbers((4, 3, 2), 0), numbers((4, 1, 1), 1)
    lengths = np.sqrt((v.numpy() ** 2).sum(axis=(1, 2), keepdims=True))
    actual = reference.weight_norm(gain, v, (1, 2))
    np.testing.assert_allclose(actual.numpy(), gain.numpy() * v.numpy() / lengths, rtol=1e-12)
