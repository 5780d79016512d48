"""A mean that is large beside the spread: statistics, outputs and moments stay right."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from torch import Tensor

from normwise.kernels.cpu import _portable

EXAMPLES = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def ulps_off(values: Tensor, right: Tensor, weight: Tensor) -> float:
    """The largest error, in ulps of max(|weight|, |y|)."""
    unit = torch.finfo(values.dtype).eps * torch.maximum(weight.double().abs(), right.abs())
    return ((values.double() - right).abs() / unit).max().item()


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("family", ["across", "group", "layer"])
@pytest.mark.parametrize("ratio", [1e2, -1e4, 1e6])
def test_outputs_are_within_16_ulps(
    raw: ModuleType, isa: str, family: str, layout: str, ratio: float
) -> None:
    for seed, (samples, channels, positions) in enumerate(((40, 6, 70), (7, 130, 33), (300, 34, 1))):
        problem = raw.Problem(
            family, layout, samples, channels, positions, spread=1.7, mean=1.7 * ratio, seed=seed
        )
        values = raw.drawn(problem)
        got, want = raw.run(problem, values), raw.expected(problem, values, None)
        weight = values.weight.view(-1, 1) if layout == "first" else values.weight
        assert ulps_off(got.y, want.y, weight.expand(problem.shape)) < 16


def test_the_measure_of_ulps_sees_an_error() -> None:
    right = torch.tensor([1.0, 0.25], dtype=torch.float64)
    values = right.float() + torch.tensor([0.0, 20 * torch.finfo(torch.float32).eps])
    assert ulps_off(values, right, torch.tensor([1.0, 1.0])) == 20
    assert ulps_off(values, right, torch.tensor([1.0, 0.5])) == 40


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("family", ["across", "group", "layer"])
def test_gradients_where_the_mean_is_large(raw: ModuleType, isa: str, family: str, layout: str) -> None:
    for activation in ("none", "relu", "gelu"):
        raw.check(raw.Problem(family, layout, 30, 34, 17, mean=1e4, spread=1.0, activation=activation))


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("family", ["across", "group", "layer"])
def test_a_first_value_far_from_the_rest(raw: ModuleType, isa: str, family: str, layout: str) -> None:
    # What the sums are shifted by is taken from the first values.
    problem = raw.Problem(family, layout, 30, 34, 17, mean=0.0, spread=1.0)
    values = raw.drawn(problem)
    values.x.flatten()[0] = 3e5
    values.x[0, :, :2] += 1e5
    raw.check(problem, values)


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("family", ["across", "group", "layer"])
@pytest.mark.parametrize("constant", [0.0, 0.1, 12345.67, -1e30, 1e-40])
def test_a_constant_input_gives_the_bias(raw: ModuleType, family: str, layout: str, constant: float) -> None:
    problem = raw.Problem(family, layout, 4, 10, 21)
    values = raw.drawn(problem)
    values.x.fill_(constant)
    got = raw.run(problem, values)
    bias = values.bias.view(-1, 1) if layout == "first" else values.bias
    assert torch.equal(got.y, bias.expand(problem.shape))
    for name in ("dx", "dweight", "dbias"):
        assert getattr(got, name).isfinite().all(), name


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("family", ["across", "group", "layer"])
@pytest.mark.parametrize("size", [1e-42, 1e-38, 1e-20, 1e15, 1e25, 1e37])
def test_very_small_and_very_large_values(
    raw: ModuleType, isa: str, family: str, layout: str, size: float
) -> None:
    for centred in (True, False) if family != "across" else (True,):
        problem = raw.Problem(family, layout, 6, 10, 21, mean=0.0, spread=size, centred=centred)
        values = raw.drawn(problem)
        got, want = raw.run(problem, values), raw.expected(problem, values, None)
        raw.assert_close(got.y, want.y, what="y")
        raw.assert_close(got.dbias, want.dbias, what="dbias")
        # Across samples and in groups 1 / std² is a float32, as in torch: beyond 1e19 it is 0.
        if size <= 1e15 or family == "layer":
            error = (got.dx.double() - want.dx).abs().max().item()
            assert error <= 1e-5 * want.dx.abs().max().item() + 1e-44  # a denormal number has few bits


@pytest.mark.parametrize("layout", ["first", "last"])
def test_one_value_has_no_spread(raw: ModuleType, layout: str) -> None:
    problem = raw.Problem(layout=layout, samples=1, positions=1)
    values = raw.drawn(problem)
    got = raw.run(problem, values)
    assert torch.equal(got.y.flatten(), values.bias)
    assert got.running_var.isfinite().all()
    assert (got.dx.abs() <= 1e-4 * values.dy.abs()).all()  # of the terms, 1 / sqrt(eps) = 316 times dy


def measured(raw: ModuleType, x: Tensor, layout: str, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Count, mean and sum of squared deviations of the kernel, for (N, C, S) or (N, S, C)."""
    samples, channels, positions = x.shape if layout == "first" else (x.shape[0], x.shape[2], x.shape[1])
    out, arounds = zip(
        *(raw.guarded((size,), torch.float64) for size in (1, channels, channels)), strict=True
    )
    x = raw.guarded(tuple(x.shape), x.dtype)[0].copy_(x)
    addresses = map(raw.address, (x, weight, *out))
    _portable.moments(raw.CODES[x.dtype], raw.LAYOUTS.index(layout), samples, channels, positions, *addresses)
    raw.check_guards(*arounds)
    return out


@EXAMPLES
@given(st.data())
def test_moments(raw: ModuleType, isa: str, data: st.DataObject) -> None:
    draw, layout = data.draw, data.draw(st.sampled_from(raw.LAYOUTS))
    weighted, sizes = draw(st.booleans()), st.sampled_from((1, 2, 3, 16, 17, 50))
    problem = raw.Problem(
        layout=layout,
        samples=draw(sizes),
        channels=draw(sizes),
        positions=draw(sizes),
        dtype=draw(st.sampled_from(raw.DTYPES)),
        mean=draw(st.sampled_from((0.0, 30.0, 1e4))),
        weighted=weighted,
        seed=draw(st.integers(0, 10**6)),
    )
    values = raw.drawn(problem)
    share = torch.ones(problem.samples, problem.positions)
    if weighted:
        share = values.sample_weight
    x = values.x[0].double() if layout == "first" else values.x[0].double().transpose(1, 2)
    w = share.double()[:, None]
    count, mean, squares = measured(raw, values.x[0], layout, values.sample_weight)
    raw.assert_close(count, w.sum().view(1), what="count")
    if not w.sum():
        return
    middle = (x * w).sum((0, 2)) / w.sum()
    spread = ((x - middle[:, None]).square() * w).sum((0, 2))
    # float32 sums about a shift are of the size of the spread, whatever the mean.
    rounding = 64 * torch.finfo(problem.wide).eps
    size = x.abs().amax() * torch.finfo(torch.float64).eps * 4 + rounding * (spread / w.sum()).sqrt()
    assert ((mean - middle).abs() <= size).all()
    assert ((squares - spread).abs() <= rounding * spread + 1e-9).all()


@pytest.mark.parametrize("layout", ["first", "last"])
def test_moments_of_nothing(raw: ModuleType, layout: str) -> None:
    for x, weight in ((torch.empty(0, 3, 3), None), (torch.ones(2, 3, 3), torch.zeros(2, 3))):
        count, mean, squares = measured(raw, x, layout, weight)
        assert count.item() == 0
        assert mean.tolist() == squares.tolist() == [0.0] * 3


@pytest.mark.parametrize("layout", ["first", "last"])
def test_weights_of_one_are_none_and_of_zero_leave_out(raw: ModuleType, layout: str) -> None:
    problem = raw.Problem(layout=layout, samples=20, positions=5)
    values = raw.drawn(problem)
    plain = raw.run(problem, values)
    ones = raw.run(problem, replace(values, sample_weight=torch.ones(20, 5)))
    for name in ("y", "dx", "dweight", "running_mean", "running_var"):
        raw.assert_close(getattr(ones, name), getattr(plain, name), what=name, scale=4.0)
    # The first ten samples alone, whatever the others hold.
    weight = torch.cat((torch.ones(10, 5), torch.zeros(10, 5)))
    values.x[:, 10:] = torch.nan
    some = raw.run(problem, replace(values, sample_weight=weight))
    half = replace(problem, samples=10)
    alone = raw.run(half, replace(values, x=values.x[:, :10].clone(), dy=values.dy[:, :10].clone()))
    raw.assert_close(some.y[:, :10], alone.y, what="y", scale=4.0)
    for name in ("running_mean", "running_var"):
        raw.assert_close(getattr(some, name), getattr(alone, name), what=name, scale=4.0)


@pytest.mark.parametrize("layout", ["first", "last"])
def test_weights_that_are_all_zero_move_nothing(raw: ModuleType, layout: str) -> None:
    problem = raw.Problem(layout=layout)
    values = replace(raw.drawn(problem), sample_weight=torch.zeros(problem.samples, problem.positions))
    got = raw.run(problem, values)
    assert torch.equal(got.running_mean, values.running_mean)
    assert torch.equal(got.running_var, values.running_var)
    for name in ("y", "dx", "dweight", "dbias"):
        assert getattr(got, name).isfinite().all(), name
