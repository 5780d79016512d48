"""Spectral normalization: the norm, the axes, the iteration and when it rests."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from normwise.errors import ArgumentError
from normwise.layers import spectral_norm, weight_norm
from normwise.testing import LayerCase, assert_close, check_layer

Make = Callable[[], nn.Module]
# Constructor, input's shape, whether torch takes the same matrix.
MODULES: dict[str, tuple[Make, tuple[int, ...], bool]] = {
    "Linear": (lambda: nn.Linear(4, 6), (3, 4), True),
    "Conv2d": (lambda: nn.Conv2d(4, 6, 3), (3, 4, 5, 4), True),
    "Conv2d in groups": (lambda: nn.Conv2d(4, 6, 3, groups=2), (3, 4, 5, 4), True),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(4, 6, 3), (3, 4, 5), True),
    "ConvTranspose2d in groups": (lambda: nn.ConvTranspose2d(4, 6, 3, groups=2), (3, 4, 5, 4), False),
    "ConvTranspose2d by channel": (lambda: nn.ConvTranspose2d(4, 4, 3, groups=4), (3, 4, 5, 4), False),
}


def rows(module: nn.Module, weight: torch.Tensor) -> np.ndarray:
    """The incoming weights of each output unit, gathered one by one."""
    values = weight.detach().double().numpy()
    if not isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d):
        return values.reshape(len(values), -1)
    per_group, inputs = values.shape[1], values.shape[0] // module.groups
    return np.stack(
        [
            values[group * inputs : (group + 1) * inputs, unit].reshape(-1)
            for group in range(module.groups)
            for unit in range(per_group)
        ]
    )


@pytest.mark.parametrize("name", MODULES)
def test_the_largest_singular_value_becomes_one(name: str) -> None:
    torch.manual_seed(0)
    module = MODULES[name][0]()
    exact = np.linalg.norm(rows(module, module.weight), 2)
    expected = module.weight.detach().double() / exact
    spectral_norm(module, n_power_iterations=200)
    assert_close(module.weight, expected, factor=4)  # the iteration's last bits


@pytest.mark.parametrize("name", [name for name, row in MODULES.items() if row[2]])
def test_steps_are_torchs(name: str) -> None:
    make, shape, _ = MODULES[name]
    case = LayerCase(
        lambda: spectral_norm(make()),
        shape,
        lambda: parametrizations.spectral_norm(make()),
        changes_shape=True,
    )
    for feature in ("twin", "state_dict"):
        check_layer(case, feature)


@pytest.mark.parametrize("name", ["Linear", "Conv2d", "ConvTranspose2d in groups"])
@pytest.mark.parametrize("feature", ["compile", "export", "meta", "vmap", "deepcopy", "checkpoint", "dtypes"])
def test_moving_vectors_under_transforms(name: str, feature: str) -> None:
    make, shape, _ = MODULES[name]
    check_layer(LayerCase(lambda: spectral_norm(make()), shape, changes_shape=True), feature)


def test_the_gradient_holds_the_vectors() -> None:
    torch.manual_seed(0)
    module = spectral_norm(nn.Linear(5, 4).double())
    own = module.parametrizations.weight[0]
    cotangent = torch.randn(4, 5, dtype=torch.float64)
    module.weight.backward(cotangent)
    w, u, v = (x.detach().numpy() for x in (module.parametrizations.weight.original, own._u, own._v))
    sigma, g = u @ w @ v, cotangent.numpy()
    expected = g / sigma - (g * w).sum() / sigma**2 * np.outer(u, v)
    assert_close(module.parametrizations.weight.original.grad, torch.from_numpy(expected))


def test_gradients_of_gradients_in_evaluation() -> None:
    torch.manual_seed(0)
    parametrization = spectral_norm(nn.Linear(5, 4).double()).parametrizations.weight[0].eval()
    weight = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(parametrization, (weight,))


def test_evaluation_moves_nothing_and_training_does() -> None:
    torch.manual_seed(0)
    module = spectral_norm(nn.Linear(30, 20))
    own = module.parametrizations.weight[0]
    before = own._u.clone()
    module.eval()(torch.randn(2, 30))
    assert torch.equal(own._u, before)
    module.train()(torch.randn(2, 30))
    assert not torch.equal(own._u, before)


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_recomputation_moves_nothing(reentrant: bool) -> None:
    torch.manual_seed(0)
    module = spectral_norm(nn.Linear(30, 20))
    twin, x = copy.deepcopy(module), torch.randn(2, 30, requires_grad=True)
    cotangent = torch.randn(2, 20)
    checkpoint(module, x, use_reentrant=reentrant).backward(cotangent)
    twin(x).backward(cotangent)
    for key, value in twin.state_dict().items():
        assert torch.equal(module.state_dict()[key], value), key
    ours, theirs = (m.parametrizations.weight.original.grad for m in (module, twin))
    assert torch.equal(ours, theirs)


def test_torchs_moves_there() -> None:
    torch.manual_seed(0)
    module = parametrizations.spectral_norm(nn.Linear(30, 20))
    twin, x = copy.deepcopy(module), torch.randn(2, 30, requires_grad=True)
    checkpoint(module, x, use_reentrant=False).backward(torch.ones(2, 20))
    twin(x).backward(torch.ones(2, 20))
    assert not torch.equal(module.parametrizations.weight[0]._u, twin.parametrizations.weight[0]._u)


def test_two_passes_before_a_backward() -> None:
    torch.manual_seed(0)
    for training in (True, False):
        module = spectral_norm(nn.Linear(5, 4)).train(training)
        first, second = module(torch.randn(3, 5)), module.train()(torch.randn(3, 5))
        (first - second).backward(torch.randn(3, 4))
        assert module.parametrizations.weight.original.grad.isfinite().all()


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_bad_weights_leave_the_vectors_alone(value: float) -> None:
    torch.manual_seed(0)
    module = spectral_norm(nn.Linear(5, 4))
    original = module.parametrizations.weight.original
    own, good = module.parametrizations.weight[0], original.detach().clone()
    with torch.no_grad():
        original.fill_(value)
    output = module(torch.randn(3, 5))
    assert own._u.norm().item() == pytest.approx(1.0, abs=1e-5)
    assert own._v.norm().item() == pytest.approx(1.0, abs=1e-5)
    if value == 0.0:
        output.backward(torch.randn(3, 4))
        assert output.isfinite().all()
        assert original.grad.isfinite().all()
        assert original.grad.abs().max() < 10
    with torch.no_grad():
        original.copy_(good)
    for _ in range(200):
        weight = module.weight
    assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1.0, abs=1e-4)


def test_torchs_gives_nan_for_zeros() -> None:
    theirs = parametrizations.spectral_norm(nn.Linear(5, 4))
    with torch.no_grad():
        theirs.parametrizations.weight.original.zero_()
    assert theirs.weight.isnan().all()


def test_autocast_does_not_round_the_norm() -> None:
    torch.manual_seed(0)
    module = spectral_norm(nn.Linear(40, 30))
    twin = copy.deepcopy(module)
    for training in (True, False):
        module.train(training)
        twin.train(training)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            weight = module.weight
        assert torch.equal(weight, twin.weight)
    assert torch.equal(module.parametrizations.weight[0]._u, twin.parametrizations.weight[0]._u)


def test_assigning_estimates_anew() -> None:
    torch.manual_seed(0)
    module = spectral_norm(nn.Linear(6, 5)).eval()
    other = torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0, 10.0])) @ torch.eye(5, 6)
    module.weight = other
    assert_close(module.weight, other / 10, factor=100)  # fifteen steps: (4/10)^30 is 1e-12


def test_behind_another_parametrization() -> None:
    torch.manual_seed(0)
    module = spectral_norm(weight_norm(nn.Linear(6, 5)), n_power_iterations=100)
    assert torch.linalg.matrix_norm(module.weight, 2).item() == pytest.approx(1.0, abs=1e-4)


def test_refusals() -> None:
    with pytest.raises(ArgumentError, match="must not be spectrally normalized yet"):
        spectral_norm(spectral_norm(nn.Linear(3, 2)))
    with pytest.raises(ArgumentError, match=r"must have a parameter `weight`.*Got Sequential"):
        spectral_norm(nn.Sequential(nn.Linear(3, 2)))
    with pytest.raises(ArgumentError, match=r"must have 2 axes or more. Got shape \(2,\)"):
        spectral_norm(nn.Linear(3, 2), "bias", dim=0)
    with pytest.raises(ArgumentError, match="knows Linear and convolutions"):
        spectral_norm(nn.Embedding(3, 2))
    with pytest.raises(ArgumentError, match=r"`dim` must be an axis.*Got 2"):
        spectral_norm(nn.Linear(3, 2), dim=2)
    with pytest.raises(ArgumentError, match=r"`n_power_iterations` must be at least 1. Got 0"):
        spectral_norm(nn.Linear(3, 2), n_power_iterations=0)
    assert spectral_norm(nn.Embedding(3, 2), dim=-1).parametrizations.weight[0]._u.shape == (2,)
