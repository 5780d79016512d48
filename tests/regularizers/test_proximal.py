"""Proximal steps: what they minimise, exact zeros, versions, refusals; and sparsity."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from normwise.errors import ArgumentError
from normwise.regularizers import L1, Elastic, sparsity


def layer_of(values: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(values.shape[1], values.shape[0]).to(values.dtype)
    layer.weight.data.copy_(values)
    return layer


@pytest.mark.parametrize(
    ("penalty", "l1", "l2"),
    [(L1(0.8), 0.8, 0.0), (Elastic(0.8, l1_ratio=0.5), 0.4, 0.4), (Elastic(0.8, l1_ratio=0.0), 0.0, 0.8)],
)
def test_step_minimises_its_objective(penalty: L1 | Elastic, l1: float, l2: float) -> None:
    lr = 0.5
    start = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    layer = layer_of(start)
    penalty.proximal_step_(layer, lr)
    grid = torch.linspace(-4, 4, 80_001, dtype=torch.float64)[:, None, None]
    objective = (grid - start).square() / (2 * lr) + l1 * grid.abs() + l2 / 2 * grid.square()
    best = grid.expand_as(objective).gather(0, objective.argmin(0, keepdim=True))[0]
    torch.testing.assert_close(layer.weight.data, best, atol=2e-4, rtol=0)


def test_zeros_are_exact_and_signs_stay() -> None:
    start = torch.tensor([[0.1, -0.1, 0.5, -0.5, 0.0, 0.1000001]])
    layer = layer_of(start)
    bias = layer.bias.detach().clone()
    L1(1.0).proximal_step_(layer, lr=0.1)
    after = layer.weight.data[0]
    assert after[:2].tolist() == [0.0, 0.0]
    assert after[4].item() == 0.0
    assert after[5].item() > 0.0
    torch.testing.assert_close(after[2:4], torch.tensor([0.4, -0.4]))
    assert torch.equal(layer.bias.detach(), bias)
    assert L1(1.0).sparsity(layer) == sparsity(layer) == 0.5


def test_descent_on_the_penalty_alone_never_gets_there_and_the_step_does() -> None:
    start = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    penalty, lr = L1(0.5), 0.03
    by_gradient, by_step = layer_of(start), layer_of(start)
    optimizer = torch.optim.SGD([by_gradient.weight], lr=lr)
    for _ in range(300):
        optimizer.zero_grad()
        penalty(by_gradient).backward()
        optimizer.step()
        penalty.proximal_step_(by_step, lr)
    assert sparsity(by_gradient) == 0.0
    assert sparsity(by_step) == 1.0


def test_step_bumps_versions_and_skips_frozen_weights() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight.requires_grad_(False)
    frozen, before = model[1].weight.clone(), [layer.weight._version for layer in model]
    L1(1.0).proximal_step_(model, lr=0.01)
    assert model[0].weight._version > before[0]
    assert model[1].weight._version == before[1]
    assert torch.equal(model[1].weight, frozen)
    model[0].weight.requires_grad_(False)
    L1(1.0).proximal_step_(model, lr=0.01)


def test_shared_weight_is_stepped_once() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    nn.init.constant_(first.weight, 1.0)
    L1(1.0).proximal_step_(nn.Sequential(first, second), lr=0.25)
    assert first.weight.unique().tolist() == [0.75]


def test_parametrized_weight_is_refused_and_nothing_is_written() -> None:
    model = nn.Sequential(nn.Linear(2, 2), weight_norm(nn.Linear(2, 2)))
    before = model[0].weight.detach().clone()
    with pytest.raises(ArgumentError, match=r"'1\.weight', which is computed from other parameters"):
        L1(1.0).proximal_step_(model, lr=0.1)
    assert torch.equal(model[0].weight.detach(), before)


@pytest.mark.parametrize("lr", [0.0, -0.1, float("inf")])
def test_learning_rate_is_checked(lr: float) -> None:
    with pytest.raises(ArgumentError, match=r"L1\.proximal_step_: `lr` must be finite and positive"):
        L1(1.0).proximal_step_(nn.Linear(2, 2), lr)


def test_sparsity_counts_only_the_named_parameters() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    nn.init.zeros_(model[0].bias)
    assert sparsity(model) == 0.0
    assert sparsity(model, parameters=("weight", "bias")) == pytest.approx(2 / 6)
    assert sparsity(model, owners=(nn.LayerNorm,), parameters=("bias",)) == 1.0
