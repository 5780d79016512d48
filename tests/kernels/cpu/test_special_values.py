"""Infinities and NaN go where torch's own operators let them go."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

SPECIAL = (float("nan"), float("inf"), float("-inf"))


def torchs_own(problem: Any, values: Any) -> dict[str, Tensor]:
    """y and the gradients of torch's operators in the input's dtype, channels first."""
    p = problem
    first = p.layout == "first"
    x, dy, residual = (
        None if t is None else (t[0] if first else t[0].transpose(1, 2)).contiguous()
        for t in (values.x, values.dy, values.residual)
    )
    leaves = {"x": x, "weight": values.weight.clone(), "bias": values.bias.clone()}
    if residual is not None:
        leaves["residual"] = residual
    for leaf in leaves.values():
        leaf.requires_grad_()
    weight, bias = leaves["weight"], leaves["bias"]
    if p.family == "across":
        mean, var = values.running_mean.clone(), values.running_var.clone()
        z = functional.batch_norm(x, mean, var, weight, bias, p.training, 0.1, 1e-5)
    elif p.family == "group":
        z = functional.group_norm(x, p.groups, weight, bias, 1e-5)
    elif p.centred:
        z = functional.layer_norm(x.transpose(1, 2), (p.channels,), weight, bias, 1e-5).transpose(1, 2)
    else:
        z = (
            functional.rms_norm(x.transpose(1, 2), (p.channels,), weight, 1e-5).transpose(1, 2)
            + bias[:, None]
        )
    if residual is not None:
        z = z + leaves["residual"]
    y = z if p.activation == "none" else getattr(functional, p.activation)(z)
    y.backward(dy)
    return {"y": y.detach()} | {f"d{name}": leaf.grad for name, leaf in leaves.items()}


def check_kinds(problem: Any, got: Any, want: dict[str, Tensor]) -> None:
    """Raise AssertionError unless the same elements are finite."""
    for name, other in want.items():
        mine = getattr(got, name)
        if mine.dim() > 1:
            mine = mine[0] if problem.layout == "first" else mine[0].transpose(1, 2)
        if not torch.equal(mine.isfinite(), other.isfinite()):
            raise AssertionError(f"{name} is finite in other places than torch's: {problem}")


@pytest.fixture
def agrees(raw: ModuleType) -> Callable[[Any, Any], None]:
    return lambda problem, values: check_kinds(problem, raw.run(problem, values), torchs_own(problem, values))


CALLS = {
    "batch": {"family": "across"},
    "batch, evaluation": {"family": "across", "training": False},
    "group": {"family": "group"},
    "layer": {"family": "layer"},
    "rms": {"family": "layer", "centred": False},
}


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("where", ["x", "dy", "residual", "weight", "bias"])
def test_one_odd_value(
    raw: ModuleType,
    isa: str,
    agrees: Callable[[Any, Any], None],
    call: dict[str, Any],
    layout: str,
    where: str,
) -> None:
    for activation in ("none", "relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid"):
        problem = raw.Problem(
            layout=layout,
            samples=2,
            channels=18,
            positions=5,
            activation=activation,
            residual=where == "residual",
            **call,
        )
        # Where a weight is infinite torch's own form x · scale + shift makes NaN of what is infinite, or finite beyond.
        for special in SPECIAL[:1] if where == "weight" else SPECIAL:
            values = raw.drawn(problem)
            getattr(values, where).view(-1)[7] = special
            agrees(problem, values)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("layout", ["first", "last"])
def test_other_dtypes(
    raw: ModuleType, isa: str, agrees: Callable[[Any, Any], None], layout: str, dtype: torch.dtype
) -> None:
    for call in CALLS.values():
        problem = raw.Problem(layout=layout, samples=3, channels=18, positions=2, dtype=dtype, **call)
        for special in SPECIAL:
            values = raw.drawn(problem)
            values.x.view(-1)[33] = special
            agrees(problem, values)


def test_the_comparison_sees_a_value_that_should_be_finite(raw: ModuleType) -> None:
    problem = raw.Problem()
    values = raw.drawn(problem)
    got, want = raw.run(problem, values), torchs_own(problem, values)
    check_kinds(problem, got, want)
    got.dx.view(-1)[3] = torch.nan
    with pytest.raises(AssertionError, match="dx is finite in other places"):
        check_kinds(problem, got, want)


@pytest.mark.parametrize("layout", ["first", "last"])
def test_an_element_that_dropout_drops_stays_odd(raw: ModuleType, isa: str, layout: str) -> None:
    # As 0 times it: torch multiplies by the mask.
    problem = raw.Problem(layout=layout, training=False, rate=0.5, affine=False)
    values = raw.drawn(problem)
    values.x.view(-1)[::3] = torch.inf
    values.dy.view(-1)[::4] = torch.inf
    got = raw.run(problem, values)
    mask = raw.unpacked(got.keep, 1, problem.elements).view(problem.shape)
    assert got.y[~mask & values.x.isinf()].isnan().all()
    assert got.y[mask & values.x.isinf()].isinf().all()
    assert got.dx[~mask & values.dy.isinf()].isnan().all()
    assert got.dx[mask & values.dy.isinf()].isinf().all()


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid"])
@pytest.mark.parametrize("layout", ["first", "last"])
def test_activations_over_the_whole_range(raw: ModuleType, isa: str, activation: str, layout: str) -> None:
    sizes = torch.logspace(-12, 2.2, 400)
    x = torch.cat((sizes, -sizes, torch.linspace(-12, 12, 999), torch.tensor([0.0, -0.0, 1e30, -1e30])))
    problem = raw.Problem(
        layout=layout,
        samples=1,
        channels=1,
        positions=x.numel(),
        activation=activation,
        training=False,
        affine=False,
    )
    values = raw.drawn(problem)
    values.x = x.view(problem.shape)
    values.dy.fill_(1)
    # 1 / sqrt(var + eps) is 1.
    values.running_mean, values.running_var = torch.zeros(1), torch.ones(1) - 1e-5
    got = raw.run(problem, values)
    z = values.x.double().requires_grad_()
    y = getattr(functional, activation)(z)
    (slope,) = torch.autograd.grad(y.sum(), z)
    for name, mine, right, least in (("y", got.y, y.detach(), 0.01), ("dx", got.dx, slope, 1.0)):
        # A tail errs by what the rounding of its exponent costs; 1 − tanh² and its like err by ulps of 1.
        error = (mine.double() - right).abs() / right.abs().clamp(min=least)
        assert error.max() < 16 * torch.finfo(torch.float32).eps, name
