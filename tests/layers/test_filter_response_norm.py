"""Filter response normalization: the formula, its threshold, and single positions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from normwise import layers
from normwise.errors import ArgumentError
from normwise.testing import assert_close

SHAPES = {1: (3, 4, 7), 2: (3, 4, 5, 6), 3: (2, 4, 2, 3, 5)}


def formula(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, tau: np.ndarray, eps: float) -> np.ndarray:
    y = np.empty_like(x)
    for sample in range(x.shape[0]):
        for channel in range(x.shape[1]):
            values = x[sample, channel]
            scaled = values / np.sqrt((values**2).mean() + abs(eps)) * weight[channel] + bias[channel]
            y[sample, channel] = np.maximum(scaled, tau[channel])
    return y


def filled(layer: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name != "eps":
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return layer


def gradient(layer: torch.nn.Module, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    y = layer(x)
    assert y.isfinite().all()
    y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(6)).to(y.dtype))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())
    assert x.grad is not None
    return x.grad


@pytest.mark.parametrize("rank", SHAPES)
@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values(rank: int, learnable: bool, dtype: torch.dtype) -> None:
    make = getattr(layers, f"FilterResponseNorm{rank}d")
    layer = filled(make(4, eps=0.3, learnable_eps=learnable, dtype=dtype))
    if learnable:
        layer.eps.data.neg_()  # its magnitude counts
    x = (torch.randn(SHAPES[rank], generator=torch.Generator().manual_seed(0)) * 3 + 1).to(dtype)
    given = (p.detach().double().numpy() for p in (layer.weight, layer.bias, layer.tau))
    assert_close(layer(x), torch.from_numpy(formula(x.double().numpy(), *given, 0.3)))


def test_without_a_threshold_an_activation_is_to_follow() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 4)
    plain, whole = layers.FilterResponseNorm2d(3, threshold=False), layers.FilterResponseNorm2d(3)
    assert set(plain.state_dict()) == {"weight", "bias"}
    assert (plain(x) < 0).any()
    assert torch.equal(plain(x).relu(), whole(x))


def test_names_and_first_values() -> None:
    fixed, learned = layers.FilterResponseNorm2d(3), layers.FilterResponseNorm2d(3, learnable_eps=True)
    assert list(fixed.state_dict()) == ["weight", "bias", "tau"]
    assert fixed.eps == 1e-6
    assert learned.eps.item() == pytest.approx(1e-4)
    filled(learned).eps.data.fill_(7.0)
    learned.reset_parameters()
    assert [p.flatten()[0].item() for p in learned.parameters()] == pytest.approx([1.0, 0.0, 0.0, 1e-4])


def test_of_one_position_the_learned_eps_keeps_magnitudes_apart() -> None:
    x = torch.tensor([[0.01, 1.0]])
    signs = layers.FilterResponseNorm1d(2)(x)
    assert (signs > 0.99).all()  # a hundred times apart before
    kept = layers.FilterResponseNorm1d(2, eps=1.0, learnable_eps=True)(x)
    assert_close(kept, x / (x.square() + 1).sqrt())


@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("fill", [0.0, 3.0, 1e4])
def test_constants_and_zeros_have_finite_gradients(learnable: bool, fill: float) -> None:
    layer = filled(layers.FilterResponseNorm2d(3, learnable_eps=learnable))
    assert gradient(layer, torch.full((1, 3, 4, 4), fill)).isfinite().all()


def test_squares_do_not_overflow_in_float16() -> None:
    x = torch.full((1, 2, 3), 3e4, dtype=torch.float16)
    layer = layers.FilterResponseNorm1d(2, dtype=torch.float16)
    assert_close(layer(x), torch.ones(1, 2, 3))


def test_refusals_say_who_and_what() -> None:
    with pytest.raises(ArgumentError, match=r"FilterResponseNorm2d: expected 4D input"):
        layers.FilterResponseNorm2d(3)(torch.zeros(2, 3, 4))
    with pytest.raises(ArgumentError, match="the 3 channels of the layer"):
        layers.FilterResponseNorm2d(3)(torch.zeros(2, 4, 5, 5))
