"""EvoNorm-S0: the formula, by groups, and where nothing varies."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from normwise import layers
from normwise.errors import ArgumentError
from normwise.testing import assert_close

SHAPES = {1: (3, 6, 7), 2: (3, 6, 5, 4), 3: (2, 6, 2, 3, 5)}


def formula(x: np.ndarray, groups: int, state: dict[str, np.ndarray], eps: float) -> np.ndarray:
    y = np.empty_like(x)
    size = x.shape[1] // groups
    for sample in range(x.shape[0]):
        for channel in range(x.shape[1]):
            first = channel // size * size
            group = x[sample, first : first + size]
            std = np.sqrt(((group - group.mean()) ** 2).mean() + eps)
            values = x[sample, channel]
            gate = 0.5 + 0.5 * np.tanh(state["v"][channel] * values / 2)
            y[sample, channel] = values * gate / std * state["weight"][channel] + state["bias"][channel]
    return y


def layer_of(
    rank: int, groups: int, eps: float = 1e-5, dtype: torch.dtype = torch.float32
) -> torch.nn.Module:
    layer: torch.nn.Module = getattr(layers, f"EvoNorm{rank}dS0")(6, groups, eps, dtype=dtype)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return layer


@pytest.mark.parametrize("rank", SHAPES)
@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values(rank: int, groups: int, dtype: torch.dtype) -> None:
    layer = layer_of(rank, groups, 0.1, dtype)
    x = (torch.randn(SHAPES[rank], generator=torch.Generator().manual_seed(0)) * 2 + 1).to(dtype)
    state = {name: value.double().numpy() for name, value in layer.state_dict().items()}
    assert_close(layer(x), torch.from_numpy(formula(x.double().numpy(), groups, state, 0.1)))


def test_a_mean_of_ten_thousand_deviations_does_not_cancel() -> None:
    layer = layer_of(2, 2)
    x = torch.randn(2, 6, 16, 16, generator=torch.Generator().manual_seed(0)) + 1e4
    state = {name: value.double().numpy() for name, value in layer.state_dict().items()}
    assert_close(layer(x), torch.from_numpy(formula(x.double().numpy(), 2, state, 1e-5)))


@pytest.mark.parametrize("fill", [0.0, 3.0, 1e4])
@pytest.mark.parametrize("shape", [(1, 6, 4, 4), (1, 6, 1, 1)])
def test_constants_and_zeros_have_finite_gradients(fill: float, shape: tuple[int, ...]) -> None:
    layer = layer_of(2, 6)
    x = torch.full(shape, fill, requires_grad=True)
    y = layer(x)
    y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(6)))
    grads = [x.grad, *(p.grad for p in layer.parameters())]
    assert y.isfinite().all()
    assert all(grad is not None and grad.isfinite().all() for grad in grads)


def test_names_and_first_values() -> None:
    layer = layer_of(2, 2)
    assert sorted(layer.state_dict()) == ["bias", "v", "weight"]
    layer.reset_parameters()
    assert {name: p.unique().tolist() for name, p in layer.named_parameters()} == {
        "weight": [1.0],
        "bias": [0.0],
        "v": [1.0],
    }


def test_refusals_say_who_and_what() -> None:
    with pytest.raises(
        ArgumentError, match=r"EvoNorm2dS0: .*Got 6 and 32\. hint: use a divisor of 6 \(1, 2, 3, 6\)"
    ):
        layers.EvoNorm2dS0(6)
    with pytest.raises(ArgumentError, match="expected 4D input"):
        layers.EvoNorm2dS0(6, 2)(torch.zeros(2, 6, 3))
    with pytest.raises(ArgumentError, match="the 6 channels of the layer"):
        layers.EvoNorm2dS0(6, 2)(torch.zeros(2, 4, 3, 3))
