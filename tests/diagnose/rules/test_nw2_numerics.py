"""Rules of numerics: eps, dtypes and momentum that do not fit, and statistics that are no numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

import normwise as nw
from normwise.diagnose import fix
from normwise.diagnose.api import examine
from normwise.diagnose.subject import OptimizerChoice, Setup, Subject
from normwise.results.diagnosis import Finding

ROWS = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def mlp(norm: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8, bias=False), norm, nn.ReLU(), nn.Linear(8, 3))


def cnn(norm: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    pool = (nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    return nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), norm, *pool)


def inputs_of(model: nn.Module) -> Tensor:
    first: Any = next(model.children())
    return (IMAGES if isinstance(first, nn.Conv2d) else ROWS).to(first.weight.dtype)


def findings(code: str, model: nn.Module) -> tuple[Finding, ...]:
    return examine(Subject(model, inputs=inputs_of(model)), select=[code]).findings


def filled(norm: nn.Module, name: str, value: float) -> nn.Module:
    with torch.no_grad():
        norm.get_buffer(name)[2] = value
    return norm


FAULTS: list[tuple[str, Callable[[], nn.Module]]] = [
    ("NW201", lambda: mlp(nn.LayerNorm(8, eps=0.0))),
    ("NW201", lambda: mlp(nn.BatchNorm1d(8, eps=1e-20))),
    ("NW201", lambda: mlp(nn.RMSNorm(8, eps=1e-30))),
    ("NW201", lambda: cnn(nn.BatchNorm2d(8, eps=100.0))),
    ("NW201", lambda: cnn(nn.GroupNorm(2, 8, eps=100.0))),
    ("NW201", lambda: mlp(nn.LayerNorm(8, eps=100.0))),
    ("NW201", lambda: mlp(nn.RMSNorm(8, eps=100.0))),
    ("NW202", lambda: mlp(nn.BatchNorm1d(8)).bfloat16()),
    ("NW203", lambda: mlp(filled(nn.BatchNorm1d(8), "running_mean", math.nan))),
    ("NW203", lambda: cnn(filled(nn.BatchNorm2d(8), "running_var", math.inf))),
    ("NW203", lambda: cnn(filled(nn.BatchNorm2d(8), "running_var", -1.0))),
    ("NW204", lambda: mlp(nn.BatchNorm1d(8, momentum=0.99))),
    ("NW204", lambda: cnn(nw.BatchNorm2d(8, momentum=0.9))),
    ("NW204", lambda: cnn(nn.InstanceNorm2d(8, momentum=1.0, track_running_stats=True))),
]

HEALTHY: list[Callable[[], nn.Module]] = [
    lambda: mlp(nn.BatchNorm1d(8)),
    lambda: mlp(nn.LayerNorm(8, eps=1e-12)),
    lambda: mlp(nn.LayerNorm(8)).bfloat16(),
    lambda: mlp(nn.BatchNorm1d(8)).bfloat16().eval(),
    lambda: mlp(nn.RMSNorm(8)),
    lambda: cnn(nn.BatchNorm2d(8, eps=1e-3, momentum=0.01)),
    lambda: cnn(nn.BatchNorm2d(8, momentum=None)),
    lambda: cnn(nn.BatchNorm2d(8, track_running_stats=False)),
    lambda: cnn(nn.InstanceNorm2d(8, momentum=0.99)),
    lambda: cnn(nn.BatchNorm2d(8, eps=0.05)),
]


@pytest.mark.parametrize(("code", "make"), FAULTS)
def test_the_fault_is_named_at_its_norm(code: str, make: Callable[[], nn.Module]) -> None:
    assert [finding.layer for finding in findings(code, make())] == ["1"]


@pytest.mark.parametrize("make", HEALTHY)
def test_a_healthy_norm_gives_nothing(make: Callable[[], nn.Module]) -> None:
    assert findings("NW2", make()) == ()


@pytest.mark.parametrize(("code", "make"), FAULTS)
def test_the_remedy_takes_the_finding_away(code: str, make: Callable[[], nn.Module]) -> None:
    model = make()
    (finding,) = findings(code, model)
    setup = Setup(model, OptimizerChoice(), 8, F.cross_entropy)
    assert findings(code, fix.apply(setup, finding).model) == ()
    assert len(findings(code, model)) == 1


def test_a_momentum_of_keras_becomes_torchs_and_training_stays_the_same() -> None:
    model = mlp(nn.BatchNorm1d(8, momentum=0.99))
    (finding,) = findings("NW204", model)
    fixed: Any = fix.apply(Setup(model, OptimizerChoice(), 8, F.cross_entropy), finding).model
    assert fixed[1].momentum == 0.01
    assert torch.equal(fixed(ROWS), model(ROWS))


def test_a_channel_that_is_constant_makes_an_eps_of_nothing_surer() -> None:
    model: Any = mlp(nn.BatchNorm1d(8, eps=1e-20))
    (unsure,) = findings("NW201", model)
    nn.init.zeros_(model[0].weight)
    (sure,) = findings("NW201", model)
    assert sure.confidence > unsure.confidence


def test_the_variance_that_eps_is_held_against_is_the_norms_own() -> None:
    model = cnn(nn.GroupNorm(2, 8, eps=100.0))
    (finding,) = findings("NW201", model)
    inputs = model.get_submodule("0")(IMAGES).detach().reshape(8, 2, -1)
    measured = {each.name: each.value for each in finding.evidence}["typical variance of its input"]
    assert measured == pytest.approx(float(inputs.var(dim=2, correction=0).median()))
