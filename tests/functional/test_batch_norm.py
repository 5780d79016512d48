"""Batch normalization against the float64 reference: outputs, gradients, running statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings, strategies as st

from normwise import functional, reference
from normwise.geometry import Geometry
from normwise.testing import assert_close

EXAMPLES = settings(max_examples=60, deadline=None, derandomize=True)
EPS = 0.05
Draws = Callable[..., st.SearchStrategy[Any]]


@EXAMPLES
@given(st.data())
def test_training(draws: Draws, data: st.DataObject) -> None:
    draw = data.draw(draws())
    x, geometry = draw.input, Geometry.batch(draw.input.shape)
    assume(geometry.count > 1)
    momentum = data.draw(st.sampled_from([0.0, 0.1, 1.0]))
    old = torch.full((x.shape[1],), 0.5, dtype=x.dtype), torch.full((x.shape[1],), 2.0, dtype=x.dtype)
    mean, var = old[0].clone(), old[1].clone()
    output = functional.batch_norm(x, mean, var, draw.weight, draw.bias, True, momentum, EPS)
    expected = reference.across_samples(x, geometry, *old, draw.weight, draw.bias, momentum=momentum, eps=EPS)
    assert output.dtype == x.dtype
    assert_close(output, expected.output, what="output", scale=4.0)
    for name, mine, other in (
        ("mean", mean, expected.running_mean),
        ("var", var, expected.running_var),
    ):
        assert_close(mine, other, what=name, scale=4.0)
    gradients = torch.autograd.grad(output, [x, *draw.parameters], draw.cotangent)
    oracle = reference.normalize_backward(draw.cotangent, x, geometry, draw.weight, EPS)
    terms = geometry.count**0.5
    for name, mine, other in zip(("input", "weight", "bias"), gradients, oracle, strict=False):
        size = 4.0 if name == "input" else 4.0 * terms
        assert_close(mine, other, what=f"gradient of {name}", scale=size)


@EXAMPLES
@given(st.data())
def test_evaluation(draws: Draws, data: st.DataObject) -> None:
    draw = data.draw(draws())
    x = draw.input
    mean = torch.linspace(-1, 1, x.shape[1], dtype=x.dtype)
    var = torch.linspace(0.5, 2, x.shape[1], dtype=x.dtype)
    kept = mean.clone(), var.clone()
    output = functional.batch_norm(x, mean, var, draw.weight, draw.bias, False, 0.5, EPS)
    expected = reference.across_samples(
        x, Geometry.batch(x.shape), mean, var, draw.weight, draw.bias, training=False, eps=EPS
    ).output
    assert_close(output, expected, what="output", scale=4.0)
    assert torch.equal(mean, kept[0])
    assert torch.equal(var, kept[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_momentum_in_a_tensor_is_that_of_a_number(dtype: torch.dtype) -> None:
    x = torch.randn(8, 3, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    results = []
    for momentum in (0.25, torch.tensor(0.25)):
        mean, var = torch.full((3,), 0.5, dtype=dtype), torch.full((3,), 2.0, dtype=dtype)
        output = functional.batch_norm(x, mean, var, training=True, momentum=momentum)
        results.append((output, mean, var))
    for name, mine, other in zip(("output", "mean", "var"), results[1], results[0], strict=True):
        assert_close(mine, other, what=name)


def test_an_empty_batch_moves_no_statistics() -> None:
    for momentum in (0.5, torch.tensor(0.5)):
        mean, var = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
        output = functional.batch_norm(torch.empty(0, 2, 5), mean, var, training=True, momentum=momentum)
        assert output.shape == (0, 2, 5)
        assert mean.tolist() == [1.0, 2.0]
        assert var.tolist() == [3.0, 4.0]


@pytest.mark.parametrize("shape", [(1, 4), (1, 4, 1), (1, 4, 1, 1)])
def test_a_single_value_has_no_variance(shape: tuple[int, ...]) -> None:
    message = r"Expected more than 1 value per channel when training.*hint: .*GroupNorm"
    with pytest.raises(ValueError, match=message):
        functional.batch_norm(torch.ones(shape), None, None, training=True)
    assert functional.batch_norm(torch.ones(shape), torch.zeros(4), torch.ones(4)).shape == shape


@pytest.mark.parametrize(("training", "eps"), [(True, 0.0), (True, -1.0), (False, -1.0)])
def test_eps_that_cannot_be(training: bool, eps: float) -> None:
    with pytest.raises(ValueError, match="eps must be"):
        functional.batch_norm(torch.ones(2, 4), torch.zeros(4), torch.ones(4), training=training, eps=eps)


def test_a_constant_channel_stays_finite() -> None:
    x = torch.full((4, 2), 3.0, requires_grad=True)
    output = functional.batch_norm(x, None, None, training=True)
    (gradient,) = torch.autograd.grad(output, x, torch.tensor([[1.0, -2], [0, 1], [2, 2], [-1, 0]]))
    # 1 / sqrt(eps) magnifies the rounding of x · scale + shift.
    assert output.abs().max() < 1e-4
    assert gradient.isfinite().all()
