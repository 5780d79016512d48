"""Rules of where norms stand: the fault is found at its layer, its clean twin and what only looks like it are not."""

from __future__ import annotations

from collections.abc import Callable

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
IMAGES = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(1))
TOKENS = torch.randn(16, 5, 8, generator=torch.Generator().manual_seed(2))
CLASSES = torch.randint(4, (32,), generator=torch.Generator().manual_seed(3))


class Residual(nn.Module):
    """x + branch(x)."""

    def __init__(self, *branch: nn.Module) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class Functional(nn.Module):
    """Dropout as a function between a layer and a norm, or behind both."""

    def __init__(self, *, before: bool) -> None:
        super().__init__()
        self.linear, self.norm, self.head = nn.Linear(6, 32, bias=False), nn.BatchNorm1d(32), nn.Linear(32, 4)
        self.before = before

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        if self.before:
            return self.head(self.norm(F.dropout(y, 0.5, self.training)).relu())
        return self.head(F.dropout(self.norm(y).relu(), 0.5, self.training))


def mlp(*inner: nn.Module, width: int = 16) -> nn.Module:
    """Linear, what is given, ReLU, Linear; the given modules are named 1, 2, …"""
    return nn.Sequential(nn.Linear(6, width, bias=False), *inner, nn.ReLU(), nn.Linear(width, 4))


def cnn(*inner: nn.Module) -> nn.Module:
    pool = (nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), *inner, *pool)


def resnet(*tail: nn.Module) -> nn.Module:
    conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
    branch = Residual(conv, nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, bias=False), *tail)
    return cnn(nn.BatchNorm2d(8), nn.ReLU(), branch)


def encoder(*inner: nn.Module) -> nn.Module:
    layers = [Residual(nn.LayerNorm(8), nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)) for _ in range(2)]
    return nn.Sequential(*layers, *inner, nn.Flatten(), nn.Linear(40, 4))


class Transposed(nn.Module):
    """A norm of channels on tokens (N, T, C)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.transpose(1, 2)).transpose(1, 2)


class BothWays(nn.Module):
    """A layer whose outputs go past the norm, too: its bias is needed."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(6, 4), nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return self.norm(y).relu() + y


def inputs_of(model: nn.Module) -> Tensor:
    kinds = {nn.Conv2d: IMAGES, Residual: TOKENS}
    first = next(iter(model.children()))
    return kinds.get(type(first), ROWS)


def loss_of(output: Tensor, classes: Tensor) -> Tensor:
    return F.cross_entropy(output, classes) if output.shape[1] > 1 else output.square().mean()


def findings(code: str, model: nn.Module, *, targets: bool = True) -> tuple[Finding, ...]:
    inputs = inputs_of(model)
    classes = CLASSES[: len(inputs)] if targets else None
    subject = Subject(model, inputs=inputs, targets=classes, loss=loss_of if targets else None)
    return examine(subject, select=[code]).findings


def layers_of(code: str, model: nn.Module) -> list[str]:
    return [layer for found in findings(code, model) for layer in (found.layer, *found.also)]


FAULTS: list[tuple[str, Callable[[], nn.Module], list[str]]] = [
    ("NW101", lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4)), ["0"]),
    (
        "NW101",
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8), nn.ReLU(), nn.Flatten()),
        ["0"],
    ),
    ("NW102", lambda: mlp(nn.BatchNorm1d(16)).append(nn.BatchNorm1d(4)), ["4"]),
    ("NW102", lambda: mlp().extend([nn.LayerNorm(4), nn.Softmax(dim=1)]), ["3"]),
    ("NW102", lambda: cnn(nn.GroupNorm(2, 8)).append(nn.BatchNorm1d(4)), ["6"]),
    ("NW103", lambda: mlp(nn.Dropout(0.5), nn.BatchNorm1d(16)), ["1"]),
    ("NW103", lambda: cnn(nn.Dropout2d(0.5), nn.ReLU(), nn.BatchNorm2d(8)), ["1"]),
    ("NW103", lambda: Functional(before=True), ["norm"]),
    ("NW104", lambda: resnet(nn.ReLU(), nn.BatchNorm2d(8)), ["3.branch.5"]),
    ("NW104", lambda: encoder(Residual(nn.Linear(8, 8), nn.ReLU(), nn.LayerNorm(8))), ["2.branch.2"]),
    ("NW105", lambda: cnn(nn.GroupNorm(8, 8)), ["1"]),
    ("NW105", lambda: encoder(Transposed(nn.GroupNorm(8, 8)), Transposed(nn.GroupNorm(2, 8))), ["2.inner"]),
    ("NW106", lambda: mlp(nn.GroupNorm(16, 16)), ["1"]),
    ("NW106", lambda: mlp().append(nn.Linear(4, 1)).append(nn.LayerNorm(1)), ["4"]),
    ("NW106", lambda: mlp().append(nn.Linear(4, 1)).append(nn.RMSNorm(1)), ["4"]),
    ("NW107", lambda: mlp(nn.BatchNorm1d(16), nn.BatchNorm1d(16)), ["2"]),
    ("NW107", lambda: resnet(nn.GroupNorm(2, 8), nn.BatchNorm2d(8)), ["3.branch.5"]),
    ("NW107", lambda: encoder(nn.LayerNorm(8), nn.Dropout(0.1), nn.RMSNorm(8)), ["4"]),
]

HEALTHY: list[Callable[[], nn.Module]] = [
    lambda: mlp(nn.BatchNorm1d(16)),
    lambda: cnn(nn.GroupNorm(2, 8)),
    lambda: cnn(nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5)),
    lambda: resnet(nn.BatchNorm2d(8)),
    lambda: encoder(nn.LayerNorm(8)),
    lambda: Functional(before=False),
    lambda: nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 4)),
    lambda: nw.mlp((6,), 4, norm="batch", dropout=0.2),
    BothWays,
]


@pytest.mark.parametrize(("code", "make", "layers"), FAULTS)
def test_the_fault_is_named_at_its_layer(code: str, make: Callable[[], nn.Module], layers: list[str]) -> None:
    torch.manual_seed(0)
    assert layers_of(code, make()) == layers


@pytest.mark.parametrize("make", HEALTHY)
def test_a_healthy_network_gives_nothing(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    assert layers_of("NW1", make()) == []


@pytest.mark.parametrize(("code", "make", "layers"), [case for case in FAULTS if case[2] != ["norm"]])
def test_the_remedy_takes_the_finding_away(
    code: str, make: Callable[[], nn.Module], layers: list[str]
) -> None:
    torch.manual_seed(0)
    model = make()
    (finding,) = findings(code, model)
    setup = Setup(model, OptimizerChoice(), 16, loss_of, example=inputs_of(model))
    fixed = fix.apply(setup, finding).model
    assert layers_of(code, fixed) == []
    assert layers_of(code, model) == layers


def test_a_bias_that_is_taken_away_changes_nothing_in_training() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))
    (finding,) = findings("NW101", model)
    setup = Setup(model, OptimizerChoice(), 16, loss_of, example=ROWS)
    fixed = fix.apply(setup, finding)
    assert fixed.model.get_submodule("0").bias is None
    torch.testing.assert_close(fixed.model(ROWS), model(ROWS))


def test_the_last_layer_gets_the_bias_that_the_norm_behind_it_had() -> None:
    model = nn.Sequential(nn.Linear(6, 4, bias=False), nn.BatchNorm1d(4))
    (finding,) = findings("NW102", model)
    fixed = fix.apply(Setup(model, OptimizerChoice(), 16, loss_of, example=ROWS), finding)
    assert torch.equal(fixed.model.get_submodule("0").bias, torch.zeros(4))
    assert layers_of("NW101", model) == []


def test_an_encoder_may_end_with_a_norm_of_each_sample_where_no_target_speaks_against_it() -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4))
    assert findings("NW102", model, targets=False) == ()
    assert len(findings("NW102", model)) == 1


def test_little_dropout_in_front_of_a_norm_is_no_fault() -> None:
    assert layers_of("NW103", mlp(nn.Dropout(0.05), nn.BatchNorm1d(16))) == []


def test_the_shift_of_the_variance_is_that_of_theory() -> None:
    torch.manual_seed(0)
    (finding,) = findings("NW103", nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(6), nn.Linear(6, 4)))
    value, mean = ROWS.var(dim=0), ROWS.mean(dim=0)
    theory = float((((value + mean.square()) / 0.5 - mean.square()) / value).median())
    assert finding.evidence[0].value == pytest.approx(theory, rel=0.2)


def test_a_layer_between_dropout_and_norm_needs_a_training_that_shows_the_harm() -> None:
    model = mlp(nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 16), nn.BatchNorm1d(16))
    assert layers_of("NW103", model) == []


def test_a_network_whose_norms_all_follow_activations_is_built_so() -> None:
    blocks = [Residual(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(8)) for _ in range(3)]
    assert layers_of("NW104", cnn(nn.ReLU(), nn.BatchNorm2d(8), *blocks)) == []


def test_a_first_group_norm_of_single_channels_among_layer_norms_is_meant() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.GroupNorm(8, 8), nn.GELU(), nn.Flatten(), nn.Linear(288, 8), nn.LayerNorm(8)
    )
    assert layers_of("NW105", model) == []


def test_the_norm_of_a_stack_behind_that_of_its_last_block_is_torchs_own() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.Sequential(Residual(), nn.TransformerEncoder(layer, 1, norm=nn.LayerNorm(8)), nn.Linear(8, 4))
    assert layers_of("NW107", model.append(nn.Flatten()).append(nn.Linear(20, 4))) == []
