"""Constraints: what a unit is, lengths after the projection, what stays, refusals."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from normwise.errors import ArgumentError
from normwise.regularizers import GroupLasso, MaxNorm, NonNegative, UnitNorm

MODULES = {
    "linear": lambda: nn.Linear(6, 4),
    "conv": lambda: nn.Conv2d(6, 4, (3, 2), groups=2),
    "transposed": lambda: nn.ConvTranspose1d(6, 4, 3),
    "grouped transposed": lambda: nn.ConvTranspose2d(6, 4, 3, groups=2),
}


def module(name: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    layer = MODULES[name]()
    nn.init.normal_(layer.weight)
    return layer.to(dtype)


def units(layer: nn.Module, w: np.ndarray) -> list[np.ndarray]:
    """Views of each output unit's weights, by torch's documented shapes."""
    if not isinstance(layer, nn.Linear) and layer.transposed:
        ins, outs = layer.in_channels // layer.groups, layer.out_channels // layer.groups
        return [w[g * ins : (g + 1) * ins, o] for g in range(layer.groups) for o in range(outs)]
    return list(w)


@pytest.mark.parametrize("name", MODULES)
def test_max_norm_shortens_what_is_too_long_and_nothing_else(name: str) -> None:
    layer = module(name)
    before = layer.weight.detach().numpy().copy()
    sizes = [np.sqrt((unit**2).sum()) for unit in units(layer, before)]
    limit = float(np.median(sizes)) + 1e-3
    version = layer.weight._version
    MaxNorm(limit).project_(layer)
    assert layer.weight._version > version
    assert min(sizes) < limit < max(sizes)
    after = layer.weight.detach().numpy()
    for old, new, size in zip(units(layer, before), units(layer, after), sizes, strict=True):
        if size <= limit:
            assert np.array_equal(new, old)
        else:
            np.testing.assert_allclose(new, old * limit / size, rtol=1e-12)


@pytest.mark.parametrize("name", MODULES)
def test_unit_norm_keeps_directions(name: str) -> None:
    layer = module(name)
    before = layer.weight.detach().numpy().copy()
    UnitNorm().project_(layer)
    after = layer.weight.detach().numpy()
    for old, new in zip(units(layer, before), units(layer, after), strict=True):
        np.testing.assert_allclose(new, old / np.sqrt((old**2).sum()), rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_sixteen_bit_weights_whose_squares_overflow(dtype: torch.dtype) -> None:
    layer = nn.Linear(4, 2).to(dtype)
    nn.init.constant_(layer.weight, 1000.0)
    MaxNorm(2.0).project_(layer)
    assert layer.weight.dtype is dtype
    assert torch.equal(layer.weight, torch.ones_like(layer.weight))
    nn.init.constant_(layer.weight, 1000.0)
    UnitNorm().project_(layer)
    assert torch.equal(layer.weight, torch.full_like(layer.weight, 0.5))


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_channels_last_weights_keep_their_layout(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    plain = kind(4, 6, 3, groups=2)
    last = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    for layer in (plain, last):
        MaxNorm(0.1).project_(layer)
        GroupLasso(0.05).proximal_step_(layer, lr=0.1)
    assert last.weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last.weight, plain.weight)
    torch.testing.assert_close(GroupLasso(1.0)(last), GroupLasso(1.0)(plain))


def test_units_of_zeros_stay() -> None:
    for constraint in (MaxNorm(1.0), UnitNorm()):
        layer = nn.Linear(3, 2)
        nn.init.zeros_(layer.weight)
        constraint.project_(layer)
        assert torch.count_nonzero(layer.weight) == 0
        assert not layer.weight.isnan().any()


def test_non_negative_is_the_nearest_and_spares_biases() -> None:
    layer = module("conv")
    before, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    NonNegative().project_(layer)
    assert torch.equal(layer.weight.detach(), before.clamp(min=0))
    assert (before < 0).any()
    assert torch.equal(layer.bias.detach(), bias)


def test_training_stays_within_the_limit_with_a_gradient_that_pulls_out() -> None:
    layer, limit = module("linear"), MaxNorm(0.5)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.3)
    for _ in range(20):
        optimizer.zero_grad()
        (-layer.weight.square().sum()).backward()
        optimizer.step()
        limit.project_(layer)
        assert layer.weight.norm(dim=1).max() <= 0.5 * (1 + 1e-12)
        assert layer.weight.requires_grad
        assert layer.weight.is_leaf


@pytest.mark.parametrize("constraint", [MaxNorm(0.1), UnitNorm(), NonNegative()], ids=str)
def test_frozen_and_shared_weights_and_computed_ones(constraint: MaxNorm | UnitNorm | NonNegative) -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    assert [name for name, _ in constraint.parameters(nn.Sequential(first, second))] == ["0.weight"]
    first.weight.requires_grad_(False)
    before = first.weight.clone()
    constraint.project_(first)
    assert torch.equal(first.weight, before)
    model = nn.Sequential(nn.Linear(2, 2), weight_norm(nn.Linear(2, 2)))
    before = model[0].weight.detach().clone()
    with pytest.raises(
        ArgumentError, match=r"project_: .*'1\.weight', which is computed from other parameters"
    ):
        constraint.project_(model)
    assert torch.equal(model[0].weight, before)


def test_other_owners_are_constrained_by_rows() -> None:
    table = nn.Embedding(5, 3)
    UnitNorm(owners=(nn.Embedding,)).project_(table)
    torch.testing.assert_close(table.weight.norm(dim=1), torch.ones(5))


def test_copies_pickles_and_text() -> None:
    for constraint, text in ((MaxNorm(2), "MaxNorm(2.0)"), (UnitNorm(), "UnitNorm()")):
        for twin in (copy.deepcopy(constraint), pickle.loads(pickle.dumps(constraint))):
            assert repr(twin) == text


@pytest.mark.parametrize("limit", [0.0, -1.0, float("inf"), float("nan")])
def test_limit_is_checked(limit: float) -> None:
    with pytest.raises(ArgumentError, match="MaxNorm: `limit` must be finite and positive"):
        MaxNorm(limit)


def test_a_model_without_weights_is_explained() -> None:
    with pytest.raises(
        ArgumentError, match=r"UnitNorm\.project_: `model` must have a parameter named 'weight'"
    ):
        UnitNorm().project_(nn.ReLU())
