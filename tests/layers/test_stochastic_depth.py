"""Stochastic depth: what is drawn for what, and the scale."""

from __future__ import annotations

import pytest
import torch

from normwise.errors import ArgumentError, UnknownNameError
from normwise.layers import (
    DropBlock1d,
    GaussianDropout,
    LockedDropout,
    StochasticDepth,
    WordDropout,
    stochastic_depth_rates,
)
from normwise.testing import assert_close


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_samples_are_dropped_whole_and_the_rest_is_scaled(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.randn(2000, 2, 3).to(dtype)
    output = StochasticDepth(0.3)(x)
    gone = (output == 0).flatten(1).all(dim=1)
    # 2,000 draws: a standard error of 0.0102.
    assert abs(gone.double().mean().item() - 0.3) < 0.041
    assert_close(output[~gone], x[~gone].double() / 0.7)


def test_the_expectation_is_kept() -> None:
    torch.manual_seed(0)
    # 40,000 draws of 0 or 2: a standard error of 0.005.
    assert abs(StochasticDepth(0.5)(torch.ones(40_000, 1)).mean().item() - 1.0) < 0.02


def test_one_draw_for_a_batch() -> None:
    torch.manual_seed(0)
    layer, means = StochasticDepth(0.5, "batch"), []
    for _ in range(400):
        values = layer(torch.ones(5, 3)).unique()
        assert len(values) == 1
        means.append(values.item())
    assert set(means) == {0.0, 2.0}
    # 400 draws: a standard error of 0.05.
    assert abs(sum(means) / 400 - 1.0) < 0.2


def test_without_scale() -> None:
    torch.manual_seed(0)
    assert StochasticDepth(0.5, scale=False)(torch.ones(50, 2)).unique().tolist() == [0.0, 1.0]


@pytest.mark.parametrize("mode", ["row", "batch"])
def test_the_ends_of_the_range_and_evaluation(mode: str) -> None:
    x = torch.randn(5, 3)
    assert StochasticDepth(0.0, mode)(x) is x
    assert StochasticDepth(0.9, mode).eval()(x) is x
    assert StochasticDepth(1.0, mode)(x).abs().max() == 0


@pytest.mark.parametrize("randomness", ["different", "same"])
def test_batched_calls_draw_as_they_are_told_to(randomness: str) -> None:
    torch.manual_seed(0)
    for layer in (
        StochasticDepth(0.5),
        LockedDropout(0.5),
        WordDropout(0.5),
        DropBlock1d(0.5, 2),
        GaussianDropout(0.5),
    ):
        first, *others = torch.func.vmap(layer, randomness=randomness)(torch.ones(8, 20, 4, 5))
        assert all(torch.equal(first, other) for other in others) == (randomness == "same")


def test_rates() -> None:
    assert stochastic_depth_rates(5, 0.5) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert stochastic_depth_rates(1, 0.5) == (0.5,)
    assert stochastic_depth_rates(3, 1.0)[-1] == 1.0
    with pytest.raises(ArgumentError, match=r"`depth` must be at least 1. Got 0"):
        stochastic_depth_rates(0, 0.5)
    with pytest.raises(ArgumentError, match=r"stochastic_depth_rates: `p`.*Got -0\.1"):
        stochastic_depth_rates(3, -0.1)


def test_refusals_and_description() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown mode 'rows'. Did you mean 'row'"):
        StochasticDepth(0.5, "rows")
    with pytest.raises(ArgumentError, match=r"StochasticDepth: `p`"):
        StochasticDepth(float("nan"))
    assert (
        repr(StochasticDepth(0.1, "batch", scale=False))
        == "StochasticDepth(p=0.1, mode='batch', scale=False)"
    )
