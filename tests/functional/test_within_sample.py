"""Group, instance, layer and RMS normalization against the float64 reference, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings, strategies as st
from torch import Tensor

from normwise import functional, reference
from normwise.geometry import Geometry
from normwise.testing import assert_close

EXAMPLES = settings(max_examples=40, deadline=None, derandomize=True)
# Large enough that an input without spread is not magnified to its rounding, and that a misplaced eps shows.
EPS = 0.05
Draws = Callable[..., st.SearchStrategy[Any]]


def check(draw: Any, output: Tensor, geometry: Geometry, *, scale: float = 4.0) -> None:
    """Compare output and gradients with the reference on the same numbers."""
    x, dtype = draw.input, draw.input.dtype
    assert output.dtype == dtype
    expected = reference.within_sample(x, geometry, draw.weight, draw.bias, EPS)
    assert_close(output, expected, what="output", scale=scale)
    leaves = [x, *draw.parameters]
    gradients = torch.autograd.grad(output, leaves, draw.cotangent)
    oracle = reference.normalize_backward(draw.cotangent, x, geometry, draw.weight, EPS)
    # A parameter's gradient is a sum over samples and positions, and errs like its terms.
    terms = max(1.0, x.numel() / geometry.channels) ** 0.5
    for name, mine, other in zip(("input", "weight", "bias"), gradients, oracle, strict=False):
        size = scale if name == "input" else scale * terms
        assert_close(mine.flatten(), other.flatten(), what=f"gradient of {name}", scale=size)


@EXAMPLES
@given(st.data())
def test_group_norm(draws: Draws, data: st.DataObject) -> None:
    draw = data.draw(draws())
    groups = data.draw(st.sampled_from([1, 2, draw.input.shape[1]]))
    assume(draw.input.numel() > groups)
    output = functional.group_norm(draw.input, groups, draw.weight, draw.bias, EPS)
    check(draw, output, Geometry.group(draw.input.shape, groups))


@EXAMPLES
@given(st.data())
def test_instance_norm(draws: Draws, data: st.DataObject) -> None:
    draw = data.draw(draws(least_positions=1))
    output = functional.instance_norm(draw.input, None, None, draw.weight, draw.bias, eps=EPS)
    check(draw, output, Geometry.instance(draw.input.shape))


@EXAMPLES
@given(st.data())
def test_layer_norm(draws: Draws, data: st.DataObject) -> None:
    draw = data.draw(draws(parameters="elements"))
    shape = draw.input.shape
    output = functional.layer_norm(draw.input, shape[1:], draw.weight, draw.bias, EPS)
    check(draw, output, Geometry.layer(shape, shape[1:]))


@EXAMPLES
@given(st.data())
def test_layer_norm_over_channels(draws: Draws, data: st.DataObject) -> None:
    draw = data.draw(draws())
    output = functional.layer_norm_over_channels(draw.input, draw.weight, draw.bias, EPS)
    check(draw, output, Geometry.layer_over_channels(draw.input.shape))


@EXAMPLES
@given(st.data())
def test_rms_norm(draws: Draws, data: st.DataObject) -> None:
    draw = data.draw(draws(parameters="elements"))
    shape = draw.input.shape
    without_bias = type(draw)(draw.input, draw.weight, None, draw.cotangent)
    output = functional.rms_norm(draw.input, shape[1:], draw.weight, EPS)
    check(without_bias, output, Geometry.rms(shape, shape[1:]))


@EXAMPLES
@given(st.data())
def test_rms_norm_over_channels(draws: Draws, data: st.DataObject) -> None:
    draw = data.draw(draws())
    without_bias = type(draw)(draw.input, draw.weight, None, draw.cotangent)
    output = functional.rms_norm_over_channels(draw.input, draw.weight, EPS)
    check(without_bias, output, Geometry.layer_over_channels(draw.input.shape, centred=False))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_rms_over_channels_takes_torchs_default_eps(dtype: torch.dtype) -> None:
    x = (torch.randn(4, 6, generator=torch.Generator().manual_seed(0)) * 1e-4).to(dtype)
    expected = torch.nn.functional.rms_norm(
        x.double(), (6,), eps=2**-52 if dtype == torch.float64 else 2**-23
    )
    assert_close(functional.rms_norm_over_channels(x), expected)
    assert_close(functional.rms_norm_over_channels(x), torch.nn.functional.rms_norm(x, (6,)))


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: functional.group_norm(x, 2),
        lambda x: functional.instance_norm(x),
        lambda x: functional.layer_norm(x, x.shape[1:]),
        functional.layer_norm_over_channels,
        functional.rms_norm_over_channels,
        lambda x: functional.rms_norm(x, x.shape[1:]),
    ],
)
class TestOddNumbers:
    def test_a_constant_input_stays_finite(self, operation: Callable[[Tensor], Tensor]) -> None:
        x = torch.full((2, 4, 3, 3), 7.0, requires_grad=True)
        output = operation(x)
        (gradient,) = torch.autograd.grad(output, x, torch.randn_like(output))
        assert output.abs().max() <= 1.0 + 1e-5
        assert gradient.isfinite().all()

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_what_is_not_finite_stays_in_its_sample(
        self, operation: Callable[[Tensor], Tensor], value: float
    ) -> None:
        x = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(0))
        clean = operation(x)
        x[0, 1, 2, 2] = value
        output = operation(x)
        assert output[0].isnan().any()
        assert torch.equal(output[1], clean[1])


@pytest.mark.parametrize("mean", [0.0, 100.0])
def test_instance_statistics_are_tracked_as_torchs(mean: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 3, 4, 4, generator=generator) * 2 + mean
    running = {"running_mean": torch.full((3,), 0.5), "running_var": torch.full((3,), 2.0)}
    theirs = {name: value.clone() for name, value in running.items()}
    functional.instance_norm(x, **running, momentum=0.3)
    torch.nn.functional.instance_norm(x, **theirs, momentum=0.3)
    for name, value in theirs.items():
        # The variance of numbers around 100 errs by the square of that in units of its own size.
        assert_close(running[name], value, what=name, factor=1.0 if mean == 0.0 else 100.0)
    assert (running["running_mean"] - 0.5).abs().min() > 1e-3
    assert_close(
        functional.instance_norm(x, **running, use_input_stats=False),
        torch.nn.functional.instance_norm(x, **theirs, use_input_stats=False),
        factor=1.0 if mean == 0.0 else 100.0,
    )
