"""Gaussian noise: its moments, and when there is none."""

from __future__ import annotations

import math

import pytest
import torch

from normwise.errors import ArgumentError
from normwise.layers import GaussianDropout, GaussianNoise

COUNT = 200_000


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_the_moments_of_dropout(p: float) -> None:
    torch.manual_seed(0)
    noise = GaussianDropout(p)(torch.ones(COUNT)).double()
    variance = p / (1 - p)
    assert abs(noise.mean().item() - 1.0) < 4 * math.sqrt(variance / COUNT)  # four standard errors
    assert abs(noise.var().item() / variance - 1.0) < 4 * math.sqrt(2 / COUNT)
    # Normal, not two-valued: a third of it lies within 0.43 standard deviations; the standard error is 0.001.
    inside = ((noise - 1.0).abs() < 0.430727 * math.sqrt(variance)).double().mean().item()
    assert abs(inside - 1 / 3) < 0.0045


def test_it_multiplies() -> None:
    x = torch.tensor([0.0, 1.0, -3.0])
    torch.manual_seed(0)
    noise = GaussianDropout(0.5)(torch.ones(3))
    torch.manual_seed(0)
    assert torch.equal(GaussianDropout(0.5)(x), x * noise)


def test_noise_is_added() -> None:
    torch.manual_seed(0)
    noise = GaussianNoise(0.3)(torch.full((COUNT,), 5.0)).double() - 5.0
    assert abs(noise.mean().item()) < 4 * 0.3 / math.sqrt(COUNT)
    assert abs(noise.std().item() / 0.3 - 1.0) < 4 * math.sqrt(0.5 / COUNT)


@pytest.mark.parametrize("layer", [GaussianDropout(0.5), GaussianNoise(0.5)])
def test_evaluation_is_the_identity(layer: torch.nn.Module) -> None:
    x = torch.randn(4)
    assert layer.eval()(x) is x
    assert layer.train()(x) is not x


def test_nothing_to_draw() -> None:
    x = torch.randn(4)
    assert GaussianDropout(0.0)(x) is x
    assert GaussianNoise(0.0)(x) is x


def test_refusals() -> None:
    with pytest.raises(ArgumentError, match=r"GaussianDropout: `p` must be below 1"):
        GaussianDropout(1.0)
    with pytest.raises(ArgumentError, match=r"GaussianDropout: `p`.*Got 2"):
        GaussianDropout(2.0)
    for std in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ArgumentError, match=r"`std` must be finite and not negative"):
            GaussianNoise(std)
