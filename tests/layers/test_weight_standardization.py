"""Weight standardization, plain and scaled."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm, gelu, silu

from normwise.errors import ArgumentError, UnknownNameError
from normwise.layers import weight_standardization
from normwise.testing import assert_close

MODULES = {
    "Linear": (lambda: nn.Linear(4, 6), 4),
    "Conv2d": (lambda: nn.Conv2d(4, 6, 3), 36),
    "Conv2d in groups": (lambda: nn.Conv2d(4, 6, 3, groups=2), 18),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 6, 3), 36),
    "ConvTranspose2d in groups": (lambda: nn.ConvTranspose2d(4, 6, 3, groups=2), 18),
}


def units(module: nn.Module) -> list[tuple[slice | int, ...]]:
    """Where each output unit's incoming weights lie."""
    weight = module.weight
    if isinstance(module, nn.ConvTranspose2d):
        inputs = weight.shape[0] // module.groups
        return [
            (slice(group * inputs, (group + 1) * inputs), unit)
            for group in range(module.groups)
            for unit in range(weight.shape[1])
        ]
    return [(unit,) for unit in range(weight.shape[0])]


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("name", MODULES)
def test_values(name: str, scaled: bool) -> None:
    torch.manual_seed(0)
    make, fan_in = MODULES[name]
    module = make()
    places, expected = units(module), module.weight.detach().double().numpy().copy()
    weight_standardization(module, eps=0.01, scaled=scaled, gamma=1.5 if scaled else 1.0)
    gains = np.ones(len(places))
    if scaled:
        with torch.no_grad():
            module.parametrizations.weight[0].gain.copy_(
                torch.linspace(0.5, 2.0, len(places)).reshape(module.parametrizations.weight[0].gain.shape)
            )
        gains = np.linspace(0.5, 2.0, len(places)) * 1.5 / math.sqrt(fan_in)
    for place, gain in zip(places, gains, strict=True):
        row = expected[place]
        assert row.size == fan_in
        expected[place] = gain * (row - row.mean()) / np.sqrt(row.var() + 0.01)
    assert_close(module.weight, torch.from_numpy(expected))


@pytest.mark.parametrize("scaled", [False, True])
def test_the_formula_of_the_published_code(scaled: bool) -> None:
    # Both published forms run the weight through batch normalization, the output units as channels.
    torch.manual_seed(0)
    module = nn.Conv2d(4, 6, 3)
    weight = module.weight.detach().clone().requires_grad_()
    scale = torch.full((6,), 1.7 / 6.0) if scaled else None
    expected = batch_norm(weight.reshape(1, 6, -1), None, None, weight=scale, training=True, eps=1e-6)
    weight_standardization(module, scaled=scaled, gamma=1.7 if scaled else 1.0)
    assert_close(module.weight, expected.reshape(weight.shape))
    cotangent = torch.randn_like(weight)
    module.weight.backward(cotangent)
    (gradient,) = torch.autograd.grad(expected, weight, cotangent.reshape(expected.shape))
    assert_close(module.parametrizations.weight.original.grad, gradient, factor=4)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_constant_weights_give_zeros_and_finite_gradients(value: float) -> None:
    module = weight_standardization(nn.Linear(4, 3), scaled=True)
    with torch.no_grad():
        module.parametrizations.weight.original.fill_(value)
    module.weight.backward(torch.randn(3, 4))
    assert module.weight.abs().max() == 0
    for parameter in module.parametrizations.parameters():
        assert parameter.grad.isfinite().all()


def test_an_assigned_weight_keeps_its_spread_in_the_gain() -> None:
    module = weight_standardization(nn.Conv2d(3, 4, 3, groups=1), scaled=True, gamma="relu")
    assert bool((module.parametrizations.weight[0].gain == 1).all())
    value = torch.randn(4, 3, 3, 3) * torch.tensor([0.01, 1.0, 5.0, 100.0]).view(4, 1, 1, 1) + 2
    module.weight = value
    assert_close(module.weight, value - value.mean(dim=(1, 2, 3), keepdim=True), factor=8)


def test_a_signal_keeps_its_variance() -> None:
    # ReLU with its gamma, 30 layers of 512: NF networks' reason. The standard error of one layer's gain is 4 %.
    torch.manual_seed(0)
    x = torch.randn(64, 512)
    with torch.no_grad():
        for _ in range(30):
            x = weight_standardization(nn.Linear(512, 512, bias=False), scaled=True, gamma="relu")(x.relu())
    assert 0.3 < x.var().item() < 3.0


def test_gammas() -> None:
    closed = {"none": 1.0, "relu": math.sqrt(2 / (1 - 1 / math.pi))}
    for name, value in closed.items():
        module = weight_standardization(nn.Linear(4, 3), scaled=True, gamma=name)
        assert module.parametrizations.weight[0].gamma == pytest.approx(value, rel=1e-6)
    # Estimates from a million samples: a standard error of about 0.2 %.
    x = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0))
    for name, function in (("silu", silu), ("gelu", gelu), ("tanh", torch.tanh)):
        module = weight_standardization(nn.Linear(4, 3), scaled=True, gamma=name)
        expected = function(x).var().rsqrt().item()
        assert module.parametrizations.weight[0].gamma == pytest.approx(expected, rel=0.008)


def test_keys_and_description() -> None:
    module = weight_standardization(nn.Conv2d(4, 6, 3), scaled=True)
    assert list(module.state_dict()) == [
        "bias",
        "parametrizations.weight.original",
        "parametrizations.weight.0.gain",
    ]
    assert module.parametrizations.weight[0].gain.shape == (6, 1, 1, 1)
    assert "scaled=True, gamma=1" in repr(module)
    assert "scaled" not in repr(weight_standardization(nn.Linear(4, 3)))


def test_assigning_sets_the_weight_that_is_standardized() -> None:
    module = weight_standardization(nn.Linear(2, 1), eps=0.0)
    module.weight = torch.tensor([[1.0, 5.0]])
    assert module.weight.tolist() == [[-1.0, 1.0]]


def test_refusals() -> None:
    with pytest.raises(ArgumentError, match="must not be standardized yet"):
        weight_standardization(weight_standardization(nn.Linear(3, 2)))
    with pytest.raises(ArgumentError, match="2 incoming weights or more"):
        weight_standardization(nn.Conv2d(4, 4, 1, groups=4))
    with pytest.raises(ArgumentError, match=r"`eps` must not be negative. Got -1"):
        weight_standardization(nn.Linear(3, 2), eps=-1.0)
    with pytest.raises(ArgumentError, match=r"`gamma` belongs to the scaled form.*hint: add scaled=True"):
        weight_standardization(nn.Linear(3, 2), gamma="relu")
    with pytest.raises(UnknownNameError, match=r"'swish'.*Known: "):
        weight_standardization(nn.Linear(3, 2), scaled=True, gamma="swish")
