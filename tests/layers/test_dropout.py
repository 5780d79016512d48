"""Dropout layers: torch's masks, torch's meaning."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from normwise import layers

SHAPES = {
    "Dropout": (50, 40),
    "Dropout1d": (50, 40, 3),
    "Dropout2d": (50, 40, 2, 2),
    "Dropout3d": (50, 40, 2, 2, 2),
}
NAMES = [*SHAPES, "AlphaDropout"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("inplace", [False, True])
def test_the_mask_of_a_seed_is_torchs(name: str, inplace: bool) -> None:
    x = torch.randn(SHAPES.get(name, (50, 40)), generator=torch.Generator().manual_seed(0))
    results = []
    for module in (layers, nn):
        torch.manual_seed(3)
        results.append(getattr(module, name)(0.3, inplace)(x.clone()))
    assert torch.equal(*results)
    assert isinstance(getattr(layers, name)(), getattr(nn, name))
    assert repr(getattr(layers, name)(0.3, inplace)) == repr(getattr(nn, name)(0.3, inplace))


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_kept_is_scaled(name: str) -> None:
    torch.manual_seed(0)
    output = getattr(layers, name)(0.2)(torch.ones(SHAPES[name]))
    assert set(output.unique().tolist()) == {0.0, 1.25}
    # 2000 units or channels: a standard error of 0.009.
    assert abs((output == 0).double().mean().item() - 0.2) < 0.04
    if name != "Dropout":
        assert torch.equal(output.flatten(2).amin(2), output.flatten(2).amax(2))


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_is_the_identity(name: str) -> None:
    x = torch.randn(SHAPES.get(name, (5, 4)))
    assert torch.equal(getattr(layers, name)(0.9).eval()(x), x)


@pytest.mark.parametrize("name", SHAPES)
def test_the_ends_of_the_range(name: str) -> None:
    x = torch.randn(SHAPES[name])
    assert torch.equal(getattr(layers, name)(0.0)(x), x)
    assert getattr(layers, name)(1.0)(x).abs().max() == 0
