"""Dropout layers: torch's masks, torch's meaning."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from normwise import layers
from normwise.kernels.registry import use_backend

SHAPES = {
    "Dropout": (50, 40),
    "Dropout1d": (50, 40, 3),
    "Dropout2d": (50, 40, 2, 2),
    "Dropout3d": (50, 40, 2, 2, 2),
}
NAMES = [*SHAPES, "AlphaDropout"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("inplace", [False, True])
def test_the_mask_of_a_seed_is_torchs_under_its_operators(name: str, inplace: bool) -> None:
    x = torch.randn(SHAPES.get(name, (50, 40)), generator=torch.Generator().manual_seed(0))
    results = []
    with use_backend("aten"):
        for module in (layers, nn):
            torch.manual_seed(3)
            results.append(getattr(module, name)(0.3, inplace)(x.clone()))
    assert torch.equal(*results)
    assert isinstance(getattr(layers, name)(), getattr(nn, name))
    assert repr(getattr(layers, name)(0.3, inplace)) == repr(getattr(nn, name)(0.3, inplace))


@pytest.mark.parametrize("inplace", [False, True])
def test_a_seed_determines_the_kernels_mask(inplace: bool) -> None:
    x = torch.ones(50, 40)
    layer = layers.Dropout(0.3, inplace)
    masks = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        masks.append(layer(x.clone()))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_kept_is_scaled(name: str) -> None:
    torch.manual_seed(0)
    output = getattr(layers, name)(0.2)(torch.ones(SHAPES[name]))
    # The kernel's probability is a multiple of 1/65536, and its scale the exact inverse.
    assert output.unique().tolist() == pytest.approx([0.0, 1.25], rel=1e-5)
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
