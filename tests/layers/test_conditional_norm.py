"""Conditional normalizations: each formula a second time, their first values, and conditions that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import normwise
from normwise import layers
from normwise.errors import ArgumentError, UnknownNameError
from normwise.testing import assert_close

SHAPES = {1: (3, 4, 7), 2: (3, 4, 5, 6), 3: (3, 4, 2, 3, 5)}
Array = np.ndarray


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator, dtype=torch.float64) * 1.5 + 0.5).to(dtype)


def filled(layer: Any) -> Any:
    """Parameters that are not zero."""
    for seed, parameter in enumerate(layer.parameters()):
        parameter.data.copy_(drawn(*parameter.shape, seed=10 + seed))
    return layer


def array(values: Tensor) -> Array:
    return values.detach().double().numpy()


def normalized(x: Array, axes: tuple[int, ...], eps: float) -> Array:
    mean = x.mean(axes, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axes, keepdims=True) + eps)


def silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def modulated(hat: Array, both: Array, axis: int = 1) -> Array:
    """Sample by sample and channel by channel, by a table (N, 2 · C) of scales and shifts."""
    y = np.moveaxis(np.empty_like(hat), axis, 1)
    source = np.moveaxis(hat, axis, 1)
    channels = source.shape[1]
    for sample in range(source.shape[0]):
        for channel in range(channels):
            scale, shift = both[sample, channel], both[sample, channels + channel]
            y[sample, channel] = source[sample, channel] * (1 + scale) + shift
    return np.moveaxis(y, 1, axis)


def linear(layer: Any, condition: Array) -> Array:
    return condition @ array(layer.modulation.weight).T + array(layer.modulation.bias)


@pytest.mark.parametrize("rank", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_conditional_batch_norm(rank: int, dtype: torch.dtype) -> None:
    make = getattr(layers, f"ConditionalBatchNorm{rank}d")
    layer = filled(make(4, 5, eps=0.1, momentum=0.3, dtype=dtype))
    x, classes = drawn(*SHAPES[rank], dtype=dtype), torch.tensor([4, 0, 4])
    table = array(layer.modulation.weight)[classes.numpy()]
    across = (0, *range(2, x.dim()))
    assert_close(layer(x, classes), torch.from_numpy(modulated(normalized(array(x), across, 0.1), table)))
    assert_close(layer.norm.running_mean, torch.from_numpy(0.3 * array(x).mean(across)))
    tracked = (array(x) - array(layer.norm.running_mean).reshape(-1, *(1,) * rank)) / np.sqrt(
        array(layer.norm.running_var).reshape(-1, *(1,) * rank) + 0.1
    )
    assert_close(layer.eval()(x, classes), torch.from_numpy(modulated(tracked, table)))


@pytest.mark.parametrize("rank", SHAPES)
def test_ada_instance_norm(rank: int) -> None:
    layer = filled(getattr(layers, f"AdaInstanceNorm{rank}d")(4, 6, eps=0.1, dtype=torch.float64))
    x, condition = drawn(*SHAPES[rank]), drawn(3, 6, seed=1)
    hat = normalized(array(x), tuple(range(2, x.dim())), 0.1)
    assert_close(layer(x, condition), torch.from_numpy(modulated(hat, linear(layer, array(condition)))))


def test_ada_group_norm() -> None:
    layer = filled(layers.AdaGroupNorm(2, 4, 6, eps=0.1, dtype=torch.float64))
    x, condition = drawn(3, 4, 5, 6), drawn(3, 6, seed=1)
    hat = normalized(array(x).reshape(3, 2, -1), (2,), 0.1).reshape(x.shape)
    both = linear(layer, silu(array(condition)))
    assert_close(layer(x, condition), torch.from_numpy(modulated(hat, both)))


@pytest.mark.parametrize("activation", ["silu", "none"])
def test_ada_layer_norm(activation: str) -> None:
    layer = filled(layers.AdaLayerNorm(4, 6, eps=0.1, activation=activation, dtype=torch.float64))
    x, condition = drawn(3, 5, 4), drawn(3, 6, seed=1)
    hat = normalized(array(x), (2,), 0.1)
    active = silu(array(condition)) if activation == "silu" else array(condition)
    assert_close(layer(x, condition), torch.from_numpy(modulated(hat, linear(layer, active), axis=2)))
    # A condition of each token: as if each were a sample.
    each = drawn(3, 5, 6, seed=2)
    apart = layer(x.reshape(15, 1, 4), each.reshape(15, 6)).reshape(3, 5, 4)
    assert_close(layer(x, each), apart)
    assert not torch.allclose(layer(x, each), layer(x, condition))


def test_ada_layer_norm_zero() -> None:
    layer = layers.AdaLayerNormZero(4, 6, eps=0.1, dtype=torch.float64)
    x, condition = drawn(3, 5, 4), drawn(3, 6, seed=1)
    hat = torch.from_numpy(normalized(array(x), (2,), 0.1))
    inner, gate = layer(x, condition)
    assert_close(inner, hat)
    assert torch.equal(x + gate * inner.tanh(), x)
    inner, gate = filled(layer)(x, condition)
    parts = linear(layer, silu(array(condition)))
    assert_close(inner, torch.from_numpy(modulated(array(hat), parts[:, :8], axis=2)))
    assert_close(gate, torch.from_numpy(parts[:, None, 8:]))


@pytest.mark.parametrize("channels_last", [False, True])
def test_film(channels_last: bool) -> None:
    layer = filled(layers.FiLM(4, 6, channels_last, dtype=torch.float64))
    x, condition = drawn(3, 4, 4), drawn(3, 6, seed=1)
    both = linear(layer, array(condition))
    expected = modulated(array(x), both, axis=2 if channels_last else 1)
    assert_close(layer(x, condition), torch.from_numpy(expected))


@pytest.mark.parametrize("rank", SHAPES)
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_spade(rank: int, norm: str) -> None:
    inner = None if norm == "batch" else getattr(layers, f"InstanceNorm{rank}d")(4, eps=1e-5)
    make = getattr(layers, f"SPADE{rank}d")
    layer = filled(make(4, 2, hidden=3, kernel_size=3, norm=inner, dtype=torch.float64))
    shape = (2, 4, *(4,) * rank)
    x, coarse = drawn(*shape), drawn(2, 2, *(3,) * rank, seed=1)
    spread = array(coarse)
    for axis in range(2, rank + 2):
        spread = spread.take([0, 0, 1, 2], axis)  # the place at ⌊3/4 · i⌋, as the authors' resizing has it
    shared = layer.modulation.shared
    middle = np.maximum(convolved(spread, array(shared.weight), array(shared.bias)), 0)
    both = convolved(middle, array(layer.modulation.weight), array(layer.modulation.bias))
    axes = tuple(range(2, rank + 2))
    hat = normalized(array(x), (0, *axes) if norm == "batch" else axes, 1e-5)
    expected = torch.from_numpy(hat * (1 + both[:, :4]) + both[:, 4:])
    assert_close(layer(x, coarse), expected)
    assert_close(layer(x, torch.from_numpy(spread)), expected)


def convolved(x: Array, weight: Array, bias: Array) -> Array:
    """A convolution with zeros beyond the border, place by place."""
    rank, half = x.ndim - 2, weight.shape[2] // 2
    padded = np.pad(x, [(0, 0), (0, 0)] + [(half, half)] * rank)
    y = np.empty((x.shape[0], weight.shape[0], *x.shape[2:]))
    for place in np.ndindex(*x.shape[2:]):
        window = padded[(slice(None), slice(None), *(slice(p, p + 2 * half + 1) for p in place))]
        sums = np.tensordot(window, weight, axes=(range(1, rank + 2), range(1, rank + 2)))
        y[(slice(None), slice(None), *place)] = sums + bias
    return y


@pytest.mark.parametrize("rank", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adain(rank: int, dtype: torch.dtype) -> None:
    x = drawn(*SHAPES[rank], dtype=dtype)
    style = drawn(3, 4, *(9,) * rank, seed=1, dtype=dtype) * 3 + 2
    axes = tuple(range(2, rank + 2))
    s = array(style)
    deviation = np.sqrt(s.var(axes, keepdims=True) + 0.1)
    expected = normalized(array(x), axes, 0.1) * deviation + s.mean(axes, keepdims=True)
    assert_close(layers.AdaIN(0.1)(x, style), torch.from_numpy(expected))


def test_adain_of_itself_is_the_input_far_from_zero_too() -> None:
    # A mean of 1e4 deviations, then deviations of a thousandth: 1 + (σ − 1) would lose the digits.
    for scale, mean in ((1.0, 1e4), (1e-3, 0.0)):
        x = drawn(2, 3, 8, 8, dtype=torch.float32) * scale + mean
        output = layers.AdaIN(eps=1e-12)(x, x)
        assert_close(output - mean, x - mean, scale=mean)


@pytest.mark.parametrize("fill", [0.0, 1e4])
def test_adain_of_constants_has_finite_gradients(fill: float) -> None:
    x = torch.full((1, 3, 4, 4), fill, requires_grad=True)
    style = torch.full((1, 3, 2, 2), fill, requires_grad=True)
    output = layers.AdaIN()(x, style)
    gradients = torch.autograd.grad(output, (x, style), drawn(1, 3, 4, 4).float())
    assert all(values.isfinite().all() for values in (output, *gradients))


MAKES: dict[str, tuple[Callable[[], Any], tuple[int, ...], Callable[[int], Tensor]]] = {
    "ConditionalBatchNorm2d": (
        lambda: layers.ConditionalBatchNorm2d(4, 5),
        (3, 4, 5, 6),
        lambda n: torch.arange(n) % 5,
    ),
    "AdaInstanceNorm2d": (
        lambda: layers.AdaInstanceNorm2d(4, 6),
        (3, 4, 5, 6),
        lambda n: drawn(n, 6).float(),
    ),
    "AdaGroupNorm": (lambda: layers.AdaGroupNorm(2, 4, 6), (3, 4, 5, 6), lambda n: drawn(n, 6).float()),
    "AdaLayerNorm": (lambda: layers.AdaLayerNorm(4, 6), (3, 5, 4), lambda n: drawn(n, 6).float()),
    "FiLM": (lambda: layers.FiLM(4, 6), (3, 4, 5), lambda n: drawn(n, 6).float()),
    "SPADE2d": (lambda: layers.SPADE2d(4, 2, 8), (3, 4, 5, 6), lambda n: drawn(n, 2, 3, 3).float()),
}


@pytest.mark.parametrize("name", MAKES)
def test_it_starts_as_its_norm_and_is_reset_to_it(name: str) -> None:
    make, shape, condition = MAKES[name]
    layer, x = make(), drawn(*shape).float()
    plain = x if layer.norm is None else layer.norm(x)
    assert torch.equal(layer(x, condition(3)), plain)
    assert not torch.allclose(filled(layer)(x, condition(3)), plain)
    layer.reset_parameters()
    assert torch.equal(layer(x, condition(3)), plain)


@pytest.mark.parametrize("name", MAKES)
def test_a_condition_of_another_batch_is_refused_and_moves_nothing(name: str) -> None:
    make, shape, condition = MAKES[name]
    layer = make()
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    for samples in (2, 1):
        with pytest.raises(ArgumentError, match=rf"{name}: the condition must give scales"):
            layer(drawn(*shape).float(), condition(samples))
    assert all(torch.equal(value, before[key]) for key, value in layer.state_dict().items())


@pytest.mark.parametrize("name", MAKES)
def test_an_initialization_of_the_model_leaves_the_zeros_alone(name: str) -> None:
    make, shape, condition = MAKES[name]
    model, x = nn.Sequential(make(), nn.Linear(4, 4)), drawn(*shape).float()
    before = model[0](x, condition(3))
    normwise.initialize_(model, "he", seed=0)
    assert torch.equal(model[0](x, condition(3)), before)


def test_the_condition_gets_the_gradient_of_the_formula() -> None:
    layer = filled(layers.AdaInstanceNorm2d(4, 6, dtype=torch.float64))
    x, condition = drawn(3, 4, 5, 6), drawn(3, 6, seed=1).requires_grad_()
    output = layer(x, condition)
    cotangent = drawn(*x.shape, seed=2)
    (gradient,) = torch.autograd.grad(output, condition, cotangent)
    hat, g = normalized(array(x), (2, 3), 1e-5), array(cotangent)
    both = np.concatenate([(g * hat).sum((2, 3)), g.sum((2, 3))], axis=1)
    assert_close(gradient, torch.from_numpy(both @ array(layer.modulation.weight)))


def test_a_modulation_of_ones_own_may_speak_of_every_element() -> None:
    class Everywhere(nn.Module):
        def forward(self, condition: Tensor) -> tuple[Tensor, Tensor]:
            return condition, -condition

    x, condition = drawn(2, 3, 4, 5), drawn(2, 3, 4, 1, seed=1)
    layer = layers.ConditionalNorm(None, Everywhere())
    assert_close(layer(x, condition), x * (1 + condition) - condition)
    with pytest.raises(ArgumentError, match="or of the input's axes, each of its size or 1"):
        layer(x, drawn(2, 3, 2, 1))
    with pytest.raises(ArgumentError, match=r"two tensors\. Got a tensor of shape \(2, 6\)\. hint: split"):
        layers.ConditionalNorm(None, nn.Linear(4, 6))(torch.zeros(2, 3, 5), torch.zeros(2, 4))


def test_one_graph_for_any_sizes_from_a_batch_of_one_on() -> None:
    layer = filled(layers.SPADE2d(4, 2, 8)).eval()
    compiled = torch.compile(layer, backend="eager", fullgraph=True, dynamic=True)
    for n in (1, 3):
        x, coarse = drawn(n, 4, 4 + n, 5).float(), drawn(n, 2, 3, 3).float()
        assert_close(compiled(x, coarse), layer(x, coarse))


def test_refusals_say_who_and_what() -> None:
    x = torch.zeros(2, 4, 5, 6)
    with pytest.raises(
        ArgumentError, match=r"scales for 2 samples of 4 channels. Got scales of shape \(2, 3\)"
    ):
        layers.FiLM(3, 6)(x, torch.zeros(2, 6))
    with pytest.raises(ArgumentError, match=r"LinearModulation: the condition must be \(N, 6\)"):
        layers.FiLM(4, 6)(x, torch.zeros(2, 5))
    with pytest.raises(
        ArgumentError, match=r"must hold classes, integers below 5\. Got dtype torch\.float32"
    ):
        layers.ConditionalBatchNorm2d(4, 5)(x, torch.zeros(2))
    with pytest.raises(ArgumentError, match="hint: of a map of classes"):
        layers.SPADE2d(4, 3)(x, torch.zeros(2, 5, 6, dtype=torch.long))
    with pytest.raises(ArgumentError, match=r"must be \(N, 3, \*\) with 2 axes"):
        layers.SPADE2d(4, 3)(x, torch.zeros(2, 2, 5, 6))
    with pytest.raises(ArgumentError, match="`kernel_size` odd"):
        layers.SPADE2d(4, 3, kernel_size=2)
    with pytest.raises(ArgumentError, match=r"AdaIN: the style must be \(N, C, \*\)"):
        layers.AdaIN()(x, torch.zeros(2, 3, 5, 6))
    with pytest.raises(ArgumentError, match="more than 1 spatial element"):
        layers.AdaIN()(torch.zeros(2, 4, 1), torch.zeros(2, 4, 3))
    with pytest.raises(UnknownNameError, match="LinearModulation: unknown activation"):
        layers.AdaGroupNorm(2, 4, 6, activation="swish")
    with pytest.raises(ArgumentError, match="use a divisor of 4"):
        layers.AdaGroupNorm(3, 4, 6)
