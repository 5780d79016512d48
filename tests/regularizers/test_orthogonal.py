"""Orthogonal penalties against their formulas over written-out matrices."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from normwise.errors import ArgumentError, UnknownNameError
from normwise.regularizers import OrthogonalPenalty

STRENGTH = 0.3
MODULES = {
    "wide": lambda: nn.Linear(7, 4),
    "tall": lambda: nn.Linear(3, 5),
    "conv": lambda: nn.Conv2d(2, 5, 3),
    "transposed": lambda: nn.ConvTranspose1d(3, 4, 2),
    "grouped transposed": lambda: nn.ConvTranspose2d(4, 6, 3, groups=2),
    "depthwise": lambda: nn.Conv1d(4, 4, 3, groups=4),
}


def module(name: str) -> nn.Module:
    torch.manual_seed(0)
    return MODULES[name]().double()


def written_out(layer: nn.Module) -> list[np.ndarray]:
    """The matrices (units, fan-in), group by group, by loops over channels."""
    w = layer.weight.detach().numpy()
    if isinstance(layer, nn.Linear):
        return [w]
    outs, ins = layer.out_channels // layer.groups, layer.in_channels // layer.groups
    found = []
    for g in range(layer.groups):
        rows = []
        for o in range(outs):
            if layer.transposed:
                rows.append(np.concatenate([w[g * ins + i, o].ravel() for i in range(ins)]))
            else:
                rows.append(w[g * outs + o].ravel())
        found.append(np.stack(rows))
    return found


def by_formula(matrix: np.ndarray, form: str) -> float:
    units, inputs = matrix.shape
    soft = ((matrix @ matrix.T - np.eye(units)) ** 2).sum()
    if form == "spectral":
        return float(np.abs(np.linalg.svd(matrix, compute_uv=False) ** 2 - 1).max())
    return float(soft + (((matrix.T @ matrix - np.eye(inputs)) ** 2).sum() if form == "double" else 0.0))


@pytest.mark.parametrize("form", ["soft", "double", "spectral"])
@pytest.mark.parametrize("name", MODULES)
def test_value_follows_the_formula(name: str, form: str) -> None:
    layer = module(name)
    penalty = OrthogonalPenalty(STRENGTH, form=form, iterations=400)
    expected = STRENGTH * sum(by_formula(matrix, form) for matrix in written_out(layer))
    np.testing.assert_allclose(penalty(layer).item(), expected, rtol=1e-6 if form == "spectral" else 1e-12)


@pytest.mark.parametrize("form", ["soft", "double", "spectral"])
@pytest.mark.parametrize("name", ["wide", "tall"])
def test_gradient_follows_the_formula(name: str, form: str) -> None:
    layer, cotangent = module(name), -1.7
    (cotangent * OrthogonalPenalty(STRENGTH, form=form, iterations=2000)(layer)).backward()
    (w,) = written_out(layer)
    if form == "spectral":
        left, sizes, right = np.linalg.svd(w, full_matrices=False)
        worst = np.abs(sizes**2 - 1).argmax()
        slope = 2 * sizes[worst] * np.sign(sizes[worst] ** 2 - 1)
        expected = slope * np.outer(left[:, worst], right[worst])
    else:
        expected = (4 if form == "soft" else 8) * (w @ w.T - np.eye(len(w))) @ w
    np.testing.assert_allclose(
        layer.weight.grad.numpy(), cotangent * STRENGTH * expected, rtol=1e-5, atol=1e-9
    )


def test_orthogonal_weights_cost_nothing_and_descent_reaches_them() -> None:
    layer = nn.Linear(6, 4)
    nn.init.orthogonal_(layer.weight, generator=torch.Generator().manual_seed(0))
    for form in ("soft", "spectral"):
        assert OrthogonalPenalty(1.0, form=form)(layer).item() == pytest.approx(0.0, abs=1e-6)
    nn.init.normal_(layer.weight, std=0.3, generator=torch.Generator().manual_seed(1))
    penalty, optimizer = OrthogonalPenalty(1.0), torch.optim.SGD([layer.weight], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        penalty(layer).backward()
        optimizer.step()
    torch.testing.assert_close(layer.weight @ layer.weight.T, torch.eye(4), atol=1e-4, rtol=0)


@pytest.mark.parametrize("form", ["soft", "double", "spectral"])
def test_gradients_at_zero_and_at_orthogonality_are_finite(form: str) -> None:
    for fill in (nn.init.zeros_, nn.init.eye_):
        layer = nn.Linear(3, 3)
        fill(layer.weight)
        OrthogonalPenalty(1.0, form=form)(layer).backward()
        assert torch.count_nonzero(layer.weight.grad) == 0


@pytest.mark.parametrize("form", ["soft", "double"])
def test_gradcheck_to_second_order(form: str) -> None:
    holder = nn.Linear(3, 2, bias=False)
    weight = holder.weight.detach().double().requires_grad_()
    del holder.weight

    def value(w: torch.Tensor) -> torch.Tensor:
        holder.weight = w
        return OrthogonalPenalty(0.7, form=form)(holder)

    assert torch.autograd.gradcheck(value, (weight,))
    assert torch.autograd.gradgradcheck(value, (weight,))


def test_sixteen_bit_weights_are_summed_in_float32() -> None:
    layer = nn.Linear(64, 64).half()
    nn.init.constant_(layer.weight, 8.0)
    value = OrthogonalPenalty(1.0)(layer)
    assert value.dtype is torch.float32
    assert value.item() == pytest.approx(64 * 63 * 4096.0**2 + 64 * 4095.0**2)  # out of float16's range
    value.backward()
    assert layer.weight.grad.dtype is torch.float16


def test_copies_pickles_and_text() -> None:
    penalty, layer = OrthogonalPenalty(0.5, form="spectral"), module("wide")
    penalty(layer)
    assert repr(penalty) == "OrthogonalPenalty(0.5, form='spectral')"
    fresh = OrthogonalPenalty(0.5, form="spectral")(layer)
    for twin in (copy.deepcopy(penalty), pickle.loads(pickle.dumps(penalty))):
        assert twin(layer).item() == fresh.item()


def test_bad_input_is_explained() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown form 'sotf'\. Did you mean 'soft'"):
        OrthogonalPenalty(1.0, form="sotf")
    with pytest.raises(ArgumentError, match=r"`iterations` must be a whole number from 1 on\. Got 0"):
        OrthogonalPenalty(1.0, iterations=0)
