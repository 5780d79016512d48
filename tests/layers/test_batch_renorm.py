"""Batch renormalization: the corrections, their schedule, and gradients that leave them alone."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from normwise import layers as nw
from normwise.errors import ArgumentError
from normwise.kernels.registry import recorded, use_backend
from normwise.testing import assert_close, check_layer
from normwise.testing.cases import all_cases

OPEN = {"plain_steps": 0, "r_max_step": 0, "d_max_step": 0}
AXES = (0, 2, 3)


def trained(**options: Any) -> nw.BatchRenorm2d:
    """A layer whose statistics are unlike those of the next batch."""
    layer = nw.BatchRenorm2d(3, **{"momentum": 0.3, **OPEN, **options}).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
            value.copy_(torch.rand(3, generator=generator) + 0.5)
    return layer


def batch(seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(5, 3, 4, 2, generator=generator, dtype=torch.float64) * 2 + 0.7


def parts(layer: nn.Module, x: np.ndarray, r_max: float, d_max: float) -> tuple[np.ndarray, ...]:
    """x̂, r, d and the batch's 1 / σ, by the paper's algorithm, as (1, C, 1, 1)."""
    mean, var = x.mean(AXES, keepdims=True), x.var(AXES, keepdims=True)
    old_mean, old_var = (
        value.numpy().reshape(1, -1, 1, 1) for value in (layer.running_mean, layer.running_var)
    )
    sigma_b, sigma = np.sqrt(var + layer.eps), np.sqrt(old_var + layer.eps)
    r = np.clip(sigma_b / sigma, 1 / r_max, r_max)
    d = np.clip((mean - old_mean) / sigma, -d_max, d_max)
    return (x - mean) / sigma_b, r, d, 1 / sigma_b


@pytest.mark.parametrize(("r_max", "d_max"), [(9.0, 9.0), (1.2, 0.1), (9.0, 0.0), (1.0, 9.0)])
def test_output_gradients_and_statistics(r_max: float, d_max: float) -> None:
    layer, x = trained(r_max=r_max, d_max=d_max), batch().requires_grad_()
    hat, r, d, scale = parts(layer, x.detach().numpy(), r_max, d_max)
    weight, bias = (value.detach().numpy().reshape(1, -1, 1, 1) for value in (layer.weight, layer.bias))
    mean, var = layer.running_mean.clone(), layer.running_var.clone()
    y = layer(x)
    assert_close(y, torch.from_numpy((hat * r + d) * weight + bias))
    g = torch.randn(y.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    y.backward(g)
    dy = g.numpy()
    back = dy - dy.mean(AXES, keepdims=True) - hat * (dy * hat).mean(AXES, keepdims=True)
    assert_close(x.grad, torch.from_numpy(weight * r * scale * back), what="gradient of input")
    assert_close(layer.weight.grad, torch.from_numpy((dy * (hat * r + d)).sum(AXES)), what="of weight")
    assert_close(layer.bias.grad, torch.from_numpy(dy.sum(AXES)), what="of bias")
    values = x.detach().numpy()
    assert_close(layer.running_mean, 0.7 * mean + 0.3 * torch.from_numpy(values.mean(AXES)))
    assert_close(layer.running_var, 0.7 * var + 0.3 * torch.from_numpy(values.var(AXES, ddof=1)))


def test_without_bounds_training_is_evaluation() -> None:
    layer = trained(r_max=1e6, d_max=1e6)
    expected = copy.deepcopy(layer).eval()(batch())
    assert_close(layer(batch()), expected)


def test_plain_steps_are_batch_normalization_to_the_bit() -> None:
    ours, theirs = (
        nw.BatchRenorm2d(3, momentum=0.1, plain_steps=3, r_max_step=5, d_max_step=5),
        nw.BatchNorm2d(3),
    )
    for step in range(4):
        x = batch(step).float()
        # The fourth batch is the first whose bounds are open: from the step 3 on they grow from 1 and 0.
        assert torch.equal(ours(x), theirs(x)), step
    assert not torch.equal(ours(batch(9).float()), theirs(batch(9).float()))
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value), key
    assert torch.equal(ours.eval()(x), theirs.eval()(x))


def test_the_papers_schedule() -> None:
    layer = nw.BatchRenorm1d(2)
    assert layer.momentum == 0.01
    found = {}
    for step in (0, 5_000, 15_000, 22_500, 25_000, 40_000, 10**7):
        layer.num_batches_tracked.fill_(step)
        found[step] = tuple(bound.item() for bound in layer.bounds())
    assert found == {
        0: (1.0, 0.0),
        5_000: (1.0, 0.0),
        15_000: (pytest.approx(1 + 2 * 10 / 35), 2.5),
        22_500: (2.0, 4.375),
        25_000: (pytest.approx(1 + 2 * 20 / 35), 5.0),
        40_000: (3.0, 5.0),
        10**7: (3.0, 5.0),
    }


@pytest.mark.parametrize("r_max", [1.1, 1.7, 3.0])
def test_bounds_are_never_passed(r_max: float) -> None:
    layer = nw.BatchRenorm1d(1, r_max=r_max, d_max=0.3, plain_steps=2, r_max_step=9, d_max_step=7)
    for step in range(40):
        x = (
            torch.randn(16, 1, generator=torch.Generator().manual_seed(step)) + 50 * (-1) ** step
        ) * 10.0 ** (step % 5 - 2)
        r_bound, d_bound = (bound.item() for bound in layer.bounds())
        assert r_bound <= r_max
        assert d_bound <= 0.3
        layer(x)
        r, d = layer.last_correction.double()
        assert 1 / r_bound * (1 - 1e-6) <= r.item() <= r_bound * (1 + 1e-6)
        assert abs(d.item()) <= d_bound * (1 + 1e-6)


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_recomputation_has_the_corrections_of_its_first_pass(reentrant: bool) -> None:
    layer, x = trained(), batch().requires_grad_()
    twin, other = copy.deepcopy(layer), batch().requires_grad_()
    g = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    checkpoint(layer, x, use_reentrant=reentrant).backward(g)
    twin(other).backward(g)
    assert torch.equal(x.grad, other.grad)
    assert torch.equal(layer.weight.grad, twin.weight.grad)
    for key, value in twin.state_dict().items():
        assert torch.equal(layer.state_dict()[key], value), key


def test_two_passes_before_a_backward() -> None:
    layer, x = trained(), batch().requires_grad_()
    twin, other = copy.deepcopy(layer), batch().requires_grad_()
    g = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    first = layer(x)
    layer(batch(5))
    first.backward(g)
    twin(other).backward(g)
    assert torch.equal(x.grad, other.grad)
    assert torch.equal(layer.weight.grad, twin.weight.grad)


@pytest.mark.parametrize("options", [{"affine": False}, {"bias": False}])
def test_without_parameters(options: dict[str, bool]) -> None:
    layer, x = nw.BatchRenorm2d(3, momentum=None, **OPEN, **options), batch().float()
    layer.running_mean.fill_(0.5)
    hat, r, d, _ = parts(layer.double(), x.double().numpy(), 3.0, 5.0)
    assert_close(layer.float()(x), torch.from_numpy(hat * r + d))


def test_the_kernels_run() -> None:
    case = all_cases()["BatchRenorm2d"]
    layer = case.layer()
    with use_backend("cpu"), recorded() as choices:
        layer(case.input())
    assert [choice.operation for choice in choices] == ["moments", "batch_norm"]
    assert not any(choice.backend == "aten" for choice in choices)
    check_layer(case, "layout")


def test_refusals() -> None:
    with pytest.raises(ArgumentError, match=r"BatchRenorm1d: `r_max` must be at least 1\. Got 0\.5"):
        nw.BatchRenorm1d(3, r_max=0.5)
    with pytest.raises(ArgumentError, match=r"`d_max` must be at least 0\. Got -1"):
        nw.BatchRenorm1d(3, d_max=-1)
    with pytest.raises(ArgumentError, match=r"`plain_steps` and `d_max_step`.* Got 50 and 40"):
        nw.BatchRenorm1d(3, plain_steps=50, d_max_step=40)
