"""Residual, activation and dropout, in this order."""

from __future__ import annotations

import pytest
import torch

from normwise import functional
from normwise.errors import ArgumentError, UnknownNameError

TORCH = {
    "none": torch.nn.Identity(),
    "relu": torch.nn.ReLU(),
    "leaky_relu": torch.nn.LeakyReLU(),
    "gelu": torch.nn.GELU(),
    "silu": torch.nn.SiLU(),
    "tanh": torch.nn.Tanh(),
    "sigmoid": torch.nn.Sigmoid(),
}


def numbers(seed: int) -> torch.Tensor:
    return torch.randn(5, 7, generator=torch.Generator().manual_seed(seed))


def test_the_names() -> None:
    assert set(functional.ACTIVATION_NAMES) == set(TORCH)


@pytest.mark.parametrize("name", TORCH)
def test_residual_comes_before_the_activation(name: str) -> None:
    x, r = numbers(0), numbers(1)
    assert torch.equal(functional.finish(x.clone(), activation=name), TORCH[name](x))
    assert torch.equal(functional.finish(x.clone(), r, name), TORCH[name](x + r))
    assert torch.equal(r, numbers(1))


@pytest.mark.parametrize("name", TORCH)
def test_gradients(name: str) -> None:
    x, r = numbers(0).requires_grad_(), numbers(1).requires_grad_()
    mine = torch.autograd.grad(functional.finish(x * 1, r, name), (x, r), numbers(2))
    theirs = torch.autograd.grad(TORCH[name](x + r), (x, r), numbers(2))
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_dropout_comes_last_and_scales() -> None:
    torch.manual_seed(0)
    output = functional.finish(torch.zeros(20_000), activation="sigmoid", dropout=0.2, training=True)
    assert output.unique().tolist() == pytest.approx(
        [0.0, 0.625], rel=1e-5
    )  # sigmoid(0) / (1 − 0.2), or dropped
    assert abs((output == 0).double().mean().item() - 0.2) < 0.015
    kept = functional.finish(torch.zeros(5), activation="sigmoid", dropout=0.2, training=False)
    assert kept.unique().tolist() == [0.5]


def test_what_is_refused() -> None:
    with pytest.raises(ArgumentError, match="must have the input's shape"):
        functional.finish(numbers(0), torch.ones(7))
    with pytest.raises(UnknownNameError, match=r"'rleu'.*Did you mean 'relu'"):
        functional.finish(numbers(0), activation="rleu")
    with pytest.raises(UnknownNameError, match="BatchNormAct1d"):
        functional.check_finish("BatchNormAct1d", "swish", 0.0)
    for rate in (-0.1, 1.1, float("nan")):
        with pytest.raises(ArgumentError, match="between 0 and 1"):
            functional.check_finish("BatchNormAct1d", "relu", rate)
