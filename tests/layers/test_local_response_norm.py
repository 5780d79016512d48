"""Local response normalization: torch's meaning where torch is right, and the formula where it is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from normwise import layers
from normwise.errors import ArgumentError
from normwise.testing import assert_close


def formula(x: np.ndarray, size: int, alpha: float, beta: float, k: float) -> np.ndarray:
    y = np.empty_like(x)
    for channel in range(x.shape[1]):
        first = channel - size // 2
        near = x[:, max(first, 0) : first + size]
        y[:, channel] = x[:, channel] / (k + alpha / size * (near**2).sum(1)) ** beta
    return y


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 12])
@pytest.mark.parametrize("shape", [(2, 6, 4), (2, 6, 4, 3), (2, 6, 2, 3, 4), (2, 6, 2, 1, 2, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_are_the_formulas_and_torchs(size: int, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    options = (size, 0.7, 0.6, 1.3)
    x = (torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 3 + 1).to(dtype)
    output = layers.LocalResponseNorm(*options)(x)
    assert_close(output, torch.from_numpy(formula(x.double().numpy(), *options)))
    assert_close(output, nn.LocalResponseNorm(*options)(x))


def test_it_is_torchs_class() -> None:
    ours, theirs = layers.LocalResponseNorm(5), nn.LocalResponseNorm(5)
    assert isinstance(ours, nn.LocalResponseNorm)
    assert repr(ours) == repr(theirs)


def test_float16_squares_do_not_overflow() -> None:
    x = torch.full((1, 3, 2), 300.0, dtype=torch.float16)
    exact = torch.from_numpy(formula(x.double().numpy(), 3, 1.0, 0.5, 1.0))
    assert_close(layers.LocalResponseNorm(3, 1.0, 0.5)(x), exact)
    assert not nn.LocalResponseNorm(3, 1.0, 0.5)(x).any()  # torch's are lost


def test_any_strides() -> None:
    x = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(0)).transpose(2, 4)
    assert_close(layers.LocalResponseNorm(3)(x), nn.LocalResponseNorm(3)(x.contiguous()))
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        nn.LocalResponseNorm(3)(x)


def test_zeros_without_k_have_finite_gradients() -> None:
    x = torch.zeros(1, 5, 3)
    x[0, 0] = 2.0
    x.requires_grad_()
    y = layers.LocalResponseNorm(3, 0.5, 0.75, k=0.0)(x)
    cotangent = torch.randn(y.shape, generator=torch.Generator().manual_seed(6))
    y.backward(cotangent)
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert torch.equal(y[0, 1:], torch.zeros(4, 3))
    assert torch.equal(x.grad[0, 2:], cotangent[0, 2:])  # among zeros alone
    assert nn.LocalResponseNorm(3, 0.5, 0.75, k=0.0)(x).isnan().any()


def test_an_empty_batch_gives_another_tensor() -> None:
    x = torch.empty(0, 3, 2)
    output = layers.LocalResponseNorm(3)(x)
    assert output is not x
    assert output.shape == x.shape


def test_refusals_say_who_and_what() -> None:
    with pytest.raises(ArgumentError, match="LocalResponseNorm: Expected 3D or higher"):
        layers.LocalResponseNorm(3)(torch.zeros(2, 3))
    with pytest.raises(ArgumentError, match="`size` must be at least 1"):
        layers.LocalResponseNorm(0)
