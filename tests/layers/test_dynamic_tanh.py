"""Dynamic tanh: the formula over trailing axes and over channels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from normwise import layers
from normwise.errors import ArgumentError
from normwise.testing import assert_close


def filled(layer: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return layer


def state_of(layer: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.double().numpy() for name, value in layer.state_dict().items()}


@pytest.mark.parametrize("shape", [5, (5,), [4, 5]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_over_trailing_axes(shape: int | tuple[int, ...], dtype: torch.dtype) -> None:
    layer = filled(layers.DynamicTanh(shape, dtype=dtype))
    x = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    state = state_of(layer)
    expected = np.tanh(state["alpha"] * x.double().numpy()) * state["weight"] + state["bias"]
    assert_close(layer(x), torch.from_numpy(expected))


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 5), (3, 4, 5, 2), (2, 4, 3, 5, 2)])
def test_values_over_channels(shape: tuple[int, ...]) -> None:
    rank = max(len(shape) - 2, 1)
    layer = filled(getattr(layers, f"DynamicTanh{rank}d")(4))
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    state = state_of(layer)
    expected = np.empty(shape)
    for channel in range(4):
        squashed = np.tanh(state["alpha"] * x[:, channel].double().numpy())
        expected[:, channel] = squashed * state["weight"][channel] + state["bias"][channel]
    assert_close(layer(x), torch.from_numpy(expected))


@pytest.mark.parametrize("make", [layers.DynamicTanh, layers.DynamicTanh1d])
def test_names_first_values_and_options(make: type[layers.DynamicTanh] | type[layers.DynamicTanh1d]) -> None:
    layer = filled(make(4, alpha=0.8))
    layer.reset_parameters()
    first = {name: value.unique().tolist() for name, value in layer.state_dict().items()}
    assert first == {"weight": [1.0], "bias": [0.0], "alpha": [pytest.approx(0.8)]}
    assert make(4).state_dict()["alpha"].tolist() == [0.5]
    assert set(make(4, bias=False).state_dict()) == {"weight", "alpha"}
    assert set(make(4, elementwise_affine=False).state_dict()) == {"alpha"}


def test_far_values_are_bounded_with_finite_gradients() -> None:
    layer = layers.DynamicTanh2d(2, dtype=torch.float16)
    x = torch.full((1, 2, 3, 3), 6e4, dtype=torch.float16, requires_grad=True)
    y = layer(x)
    y.backward(torch.ones_like(y))
    assert torch.equal(y, torch.ones_like(y))
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_refusals_say_who_and_what() -> None:
    with pytest.raises(ArgumentError, match=r"must end in \[4\]. Got \[2, 4, 3\]"):
        layers.DynamicTanh(4)(torch.zeros(2, 4, 3))
    with pytest.raises(ArgumentError, match=r"must end in \[2, 4\]. Got \[4\]"):
        layers.DynamicTanh((2, 4))(torch.zeros(4))
    with pytest.raises(ArgumentError, match="DynamicTanh2d: expected 4D input"):
        layers.DynamicTanh2d(4)(torch.zeros(2, 4, 3))
    with pytest.raises(ArgumentError, match="the 4 channels of the layer"):
        layers.DynamicTanh2d(4)(torch.zeros(2, 3, 3, 3))
    with pytest.raises(ArgumentError, match="`alpha` must be finite"):
        layers.DynamicTanh(4, alpha=float("nan"))
