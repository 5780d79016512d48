"""Global response normalization: the formula in both orders of axes, and channels of zeros."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from normwise import layers
from normwise.errors import ArgumentError
from normwise.testing import assert_close

SHAPES = {1: (3, 4, 7), 2: (3, 4, 5, 6), 3: (2, 4, 2, 3, 5)}


def formula(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, eps: float) -> np.ndarray:
    y = np.empty_like(x)
    for sample in range(x.shape[0]):
        lengths = [np.linalg.norm(channel.ravel()) for channel in x[sample]]
        for channel, length in enumerate(lengths):
            values = x[sample, channel]
            share = length / (np.mean(lengths) + eps)
            y[sample, channel] = weight[channel] * values * share + bias[channel] + values
    return y


def layer_of(rank: int, channels_last: bool = False, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    make = getattr(layers, f"GlobalResponseNorm{rank}d")
    layer: torch.nn.Module = make(4, 0.1, channels_last, dtype=dtype)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return layer


@pytest.mark.parametrize("rank", SHAPES)
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values(rank: int, channels_last: bool, dtype: torch.dtype) -> None:
    layer = layer_of(rank, channels_last, dtype)
    x = (torch.randn(SHAPES[rank], generator=torch.Generator().manual_seed(0)) * 2 + 1).to(dtype)
    given = (p.detach().double().numpy() for p in (layer.weight, layer.bias))
    expected = torch.from_numpy(formula(x.double().numpy(), *given, 0.1))
    output = layer(x.movedim(1, -1)).movedim(-1, 1) if channels_last else layer(x)
    assert_close(output, expected)


def test_it_starts_as_the_identity_and_is_reset_to_it() -> None:
    layer, x = layer_of(2), torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(layer(x), x)
    layer.reset_parameters()
    assert torch.equal(layer(x), x)
    assert list(layer.state_dict()) == ["weight", "bias"]


def test_channels_of_zeros_have_finite_gradients_of_both_orders() -> None:
    layer = layer_of(2)
    x = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    x[0], x[1, 2] = 0.0, 0.0  # a sample, and one channel of another
    x.requires_grad_()
    y = layer(x)
    cotangent = torch.randn(y.shape, generator=torch.Generator().manual_seed(6), requires_grad=True)
    inputs = (x, *layer.parameters())
    first = torch.autograd.grad(y, inputs, cotangent, create_graph=True)
    assert all(grad.isfinite().all() for grad in (y, *first))
    second = torch.autograd.grad(first[0], (x, cotangent), torch.randn_like(x))
    assert all(grad.isfinite().all() for grad in second)


def test_squares_do_not_overflow_in_float16() -> None:
    x = torch.full((1, 4, 9), 1e4, dtype=torch.float16)
    layer = layers.GlobalResponseNorm1d(4, dtype=torch.float16)
    torch.nn.init.ones_(layer.weight)
    assert_close(layer(x), torch.full((1, 4, 9), 2e4))


def test_refusals_say_who_and_what() -> None:
    with pytest.raises(ArgumentError, match="GlobalResponseNorm2d: expected 4D input"):
        layers.GlobalResponseNorm2d(4)(torch.zeros(2, 4, 3))
    with pytest.raises(
        ArgumentError, match=r"\(N, C, \*\) with positions and C = 4.*hint: channels_last=True"
    ):
        layers.GlobalResponseNorm2d(4)(torch.zeros(2, 3, 3, 4))
