"""Scale normalization: one length for all vectors, short ones excepted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from normwise import layers
from normwise.errors import ArgumentError
from normwise.testing import assert_close


def formula(x: np.ndarray, weight: float, eps: float) -> np.ndarray:
    return np.array(
        [weight * row / max(np.linalg.norm(row), eps) for row in x.reshape(-1, x.shape[-1])]
    ).reshape(x.shape)


@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 3, 7)])
@pytest.mark.parametrize("eps", [1e-5, 2.0])  # 2: some vectors are shorter
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values(shape: tuple[int, ...], eps: float, dtype: torch.dtype) -> None:
    layer = layers.ScaleNorm(7, eps, dtype=dtype)
    layer.weight.data.fill_(0.7)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert_close(layer(x), torch.from_numpy(formula(x.double().numpy(), float(layer.weight.detach()), eps)))


def test_it_starts_as_rms_norm_without_a_weight() -> None:
    x = torch.randn(5, 9, generator=torch.Generator().manual_seed(0))
    layer = layers.ScaleNorm(9)
    expected = layers.RMSNorm(9, eps=0.0, elementwise_affine=False)(x)
    assert_close(layer(x), expected)
    layer.weight.data.fill_(5.0)
    layer.reset_parameters()
    assert layer.weight.item() == pytest.approx(3.0)
    assert layer.weight.shape == ()


@pytest.mark.parametrize("eps", [1e-5, 0.0])
def test_zeros_have_finite_gradients(eps: float) -> None:
    layer = layers.ScaleNorm(4, eps)
    x = torch.zeros(2, 4, requires_grad=True)
    y = layer(x)
    y.backward(torch.randn(2, 4, generator=torch.Generator().manual_seed(6)))
    assert torch.equal(y, torch.zeros(2, 4))
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert layer.weight.grad is not None
    assert layer.weight.grad.isfinite()


def test_squares_do_not_overflow_in_float16() -> None:
    x = torch.full((2, 4), 3e4, dtype=torch.float16)
    assert_close(layers.ScaleNorm(4, dtype=torch.float16)(x), torch.ones(2, 4))


def test_refusals_say_who_and_what() -> None:
    for shape in ((2, 3), ()):
        with pytest.raises(ArgumentError, match="ScaleNorm: the input's last axis must be of size 4"):
            layers.ScaleNorm(4)(torch.zeros(shape))
