"""Weights without a mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from normwise.errors import ArgumentError
from normwise.layers import centred_weight, weight_standardization
from normwise.testing import assert_close

MODULES = {
    "Linear": lambda: nn.Linear(4, 6),
    "Conv3d": lambda: nn.Conv3d(4, 6, 2),
    "Conv2d in groups": lambda: nn.Conv2d(4, 6, 3, groups=2),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(4, 6, 3),
    "ConvTranspose2d in groups": lambda: nn.ConvTranspose2d(4, 6, 3, groups=2),
}


def centred(module: nn.Module) -> np.ndarray:
    """Unit by unit, in float64."""
    weight = module.weight.detach().double().numpy().copy()
    if isinstance(module, nn.ConvTranspose2d):
        inputs = weight.shape[0] // module.groups
        for group in range(module.groups):
            for unit in range(weight.shape[1]):
                weight[group * inputs : (group + 1) * inputs, unit] -= weight[
                    group * inputs : (group + 1) * inputs, unit
                ].mean()
        return weight
    for unit in range(weight.shape[0]):
        weight[unit] -= weight[unit].mean()
    return weight


@pytest.mark.parametrize("name", MODULES)
def test_values(name: str) -> None:
    torch.manual_seed(0)
    module = MODULES[name]()
    expected = torch.from_numpy(centred(module))
    assert centred_weight(module) is module
    assert_close(module.weight, expected)


@pytest.mark.parametrize("function", [centred_weight, weight_standardization])
def test_a_large_mean_does_not_cancel(function: object) -> None:
    torch.manual_seed(0)
    module = nn.Linear(40, 3)
    with torch.no_grad():
        module.weight.normal_().add_(1e4)
    exact = module.weight.detach().double()
    exact = exact - exact.mean(dim=1, keepdim=True)
    if function is weight_standardization:
        exact = exact / exact.square().mean(dim=1, keepdim=True).add(1e-6).sqrt()
    function(module)  # type: ignore[operator]
    # What the inputs' own float32 rounding leaves is in `exact` as well: the distance is the computation's alone.
    assert_close(module.weight, exact)


def test_a_constant_input_reaches_no_output() -> None:
    torch.manual_seed(0)
    module = centred_weight(nn.Linear(7, 3, bias=False))
    assert_close(module(torch.full((2, 7), 5.0)), torch.zeros(2, 3), scale=5.0)


def test_gradients_have_no_mean() -> None:
    torch.manual_seed(0)
    module = centred_weight(nn.Linear(7, 3))
    cotangent = torch.randn(3, 7)
    module.weight.backward(cotangent)
    assert_close(
        module.parametrizations.weight.original.grad,
        cotangent - cotangent.mean(dim=1, keepdim=True),
        factor=2,
    )


def test_refusals() -> None:
    with pytest.raises(ArgumentError, match="must not be centred yet"):
        centred_weight(centred_weight(nn.Linear(3, 2)))
    with pytest.raises(
        ArgumentError, match=r"2 incoming weights or more. Got 1 for a weight of shape \(4, 1\)"
    ):
        centred_weight(nn.Linear(1, 4))
    with pytest.raises(ArgumentError, match="2 incoming weights or more"):
        centred_weight(nn.Conv2d(4, 4, 1, groups=4))
    with pytest.raises(ArgumentError, match="2 incoming weights or more"):
        centred_weight(nn.ConvTranspose2d(4, 4, 1, groups=4))
