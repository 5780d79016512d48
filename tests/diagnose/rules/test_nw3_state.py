"""Rules of state: statistics that stand still or are stale, the wrong mode, and layers that do not train."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

from normwise.diagnose import fix
from normwise.diagnose.api import examine
from normwise.diagnose.subject import Data, OptimizerChoice, Setup, Subject
from normwise.errors import ArgumentError
from normwise.results.diagnosis import Finding


def data() -> Data:
    """Two moons' worth of rows in three classes, far from zero mean."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(3, (360,), generator=generator)
    centres = 2 * torch.randn(3, 6, generator=generator)
    rows = centres[classes] + torch.randn(360, 6, generator=generator) + 2.0
    return Data(rows[:300], classes[:300], rows[300:], classes[300:], "classification", 3)


DATA = data()


class Net(nn.Module):
    """Two hidden layers with norms; `cut` detaches what comes out of the first."""

    def __init__(self, *, cut: bool = False, norm: type[nn.Module] = nn.BatchNorm1d) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm1 = nn.Linear(6, 24, bias=False), norm(24)
        self.second, self.norm2 = nn.Linear(24, 24, bias=False), norm(24)
        self.head = nn.Linear(24, 3)
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(self.first(x)).relu()
        y = y.detach() if self.cut else y
        return self.head(self.norm2(self.second(y)).relu())


class Evaluating(nn.BatchNorm1d):
    """`train()` does nothing."""

    def train(self, mode: bool = True) -> Evaluating:
        return super().train(False)


class Listed(nn.Module):
    """Keeps its layers in `kind`."""

    def __init__(self, kind: Callable[[list[nn.Module]], Any]) -> None:
        super().__init__()
        self.blocks = kind([nn.Linear(6, 6), nn.Linear(6, 6), nn.ReLU()])
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks.values() if isinstance(self.blocks, dict) else self.blocks:
            x = block(x)
        return self.head(x)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (list, "2 layers in a plain list"),
        (tuple, "2 layers in a plain tuple"),
        (lambda blocks: {str(i): block for i, block in enumerate(blocks)}, "2 layers in a plain dict"),
        (nn.ModuleList, ""),
        (lambda blocks: nn.Sequential(*blocks), ""),
    ],
)
def test_layers_in_a_plain_list_are_named(kind: Callable[[list[nn.Module]], Any], words: str) -> None:
    found = examine(Subject(nn.Sequential(nn.Identity(), Listed(kind)), "net"), select=["NW305"]).findings
    assert [f.layer for f in found] == (["1"] if words else [])
    assert all(words in f.message and "`self.blocks`" in f.message for f in found)


def test_a_list_of_layers_that_the_model_has_elsewhere_is_no_fault() -> None:
    model = nn.Sequential(nn.Linear(6, 3))
    model.order = [model[0], "a name", 3]  # type: ignore[assignment]
    model.scales = [nn.Parameter(torch.ones(3))]  # type: ignore[assignment]
    (found,) = examine(Subject(model, "net"), select=["NW305"]).findings
    assert "`self.scales` keeps 1 parameter in a plain list" in found.message
    assert "nn.ParameterList" in found.code_lines[0]


def setup_of(model: nn.Module) -> Setup:
    return Setup(model, OptimizerChoice("SGD", 0.05), 32, F.cross_entropy, example=DATA.inputs[:32])


def still(model: nn.Module) -> Subject:
    """Of a model and a batch, with no training."""
    return Subject(model, inputs=DATA.inputs[:64], targets=DATA.targets[:64], loss=F.cross_entropy)


def trained(setup: Setup, steps: int = 60) -> Subject:
    return replace(still(setup.model), setup=setup, data=DATA, steps=steps)


def findings(code: str, subject: Subject) -> tuple[Finding, ...]:
    return examine(subject, select=[code]).findings


def layers_of(code: str, subject: Subject) -> list[str]:
    return [layer for found in findings(code, subject) for layer in (found.layer, *found.also)]


def changed(model: nn.Module, **fields: Any) -> nn.Module:
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm1d)):
        for name, value in fields.items():
            setattr(norm, name, value)
    return model


def practised(model: nn.Module, steps: int = 150) -> tuple[nn.Module, torch.optim.Optimizer]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _, (inputs, targets) in zip(range(steps), DATA.batches(32, 0), strict=False):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model, optimizer


def frozen(model: nn.Module, *names: str) -> nn.Module:
    for name in names:
        model.get_submodule(name).requires_grad_(False)
    return model


def partly_evaluating(model: nn.Module) -> nn.Module:
    model.get_submodule("norm2").eval()
    return model


HEALTHY: list[Callable[[], Subject]] = [
    lambda: still(Net()),
    lambda: trained(setup_of(Net())),
    lambda: trained(setup_of(Net(norm=nn.LayerNorm))),
    lambda: still(practised(Net())[0]),
    lambda: still(practised(Net())[0].eval()),
]


@pytest.mark.parametrize("make", HEALTHY)
def test_a_healthy_model_gives_nothing(make: Callable[[], Subject]) -> None:
    assert findings("NW3", make()) == ()


def test_a_new_optimizer_with_a_state_has_not_trained() -> None:
    model = Net()
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.1)
    assert findings("NW3", replace(still(model), optimizer=optimizer)) == ()


@pytest.mark.parametrize(
    ("make", "layers"),
    [
        (lambda: changed(Net(), momentum=0.0), ["norm1", "norm2"]),
        (lambda: Net(norm=Evaluating), ["norm1", "norm2"]),
        (lambda: partly_evaluating(Net()), ["norm2"]),
    ],
)
def test_statistics_that_stand_still_are_named(make: Callable[[], nn.Module], layers: list[str]) -> None:
    assert layers_of("NW301", still(make())) == layers


def test_a_norm_that_missed_the_training_is_named() -> None:
    model, optimizer = practised(Net())
    model.get_submodule("norm1").reset_running_stats()  # type: ignore[operator]
    assert layers_of("NW301", replace(still(model), optimizer=optimizer)) == ["norm1"]


@pytest.mark.parametrize("keep", [partly_evaluating, lambda model: changed(model, momentum=0.0)])
def test_the_kept_statistics_of_a_trained_model_are_no_fault(keep: Callable[[nn.Module], nn.Module]) -> None:
    assert layers_of("NW301", still(keep(practised(Net())[0]))) == []


def test_a_new_norm_in_a_trained_model_is_no_fault() -> None:
    model, _ = practised(Net())
    model.norm2 = nn.BatchNorm1d(24)
    assert layers_of("NW301", still(model)) == []


@pytest.mark.parametrize("make", [lambda: changed(Net(), momentum=0.0), lambda: partly_evaluating(Net())])
def test_statistics_follow_again_after_the_remedy(make: Callable[[], nn.Module]) -> None:
    model = make()
    (finding,) = findings("NW301", still(model))
    fixed = fix.apply(setup_of(model), finding).model
    assert layers_of("NW301", still(fixed)) == []
    fixed(DATA.inputs)
    assert float(fixed.get_buffer("norm2.running_mean").abs().max()) > 0


def test_a_norm_whose_class_refuses_to_train_is_for_a_person_to_change() -> None:
    model = Net(norm=Evaluating)
    (finding,) = findings("NW301", still(model))
    assert finding.applicability == "advice"
    with pytest.raises(ArgumentError):
        fix.apply(setup_of(model), finding)


def test_evaluation_during_training_is_named_and_put_right() -> None:
    setup = replace(setup_of(Net()), evaluates=True)
    (finding,) = findings("NW302", replace(still(setup.model), setup=setup))
    assert (finding.layer, finding.confidence) == ("", 1.0)
    fixed = fix.apply(setup, finding)
    assert findings("NW302", replace(still(fixed.model), setup=fixed)) == ()


def test_the_mode_of_a_network_that_has_no_modes_is_no_fault() -> None:
    setup = replace(setup_of(Net(norm=nn.LayerNorm)), evaluates=True)
    assert findings("NW302", replace(still(setup.model), setup=setup)) == ()


def test_statistics_that_lag_behind_a_training_are_named_and_put_right() -> None:
    setup = setup_of(changed(Net(), momentum=1e-4))
    (finding,) = findings("NW303", trained(setup))
    assert finding.layer in ("norm1", "norm2")
    fixed = fix.apply(setup, finding)
    assert findings("NW303", trained(fixed)) == ()


def test_statistics_of_other_data_are_seen_on_a_batch_alone() -> None:
    model, _ = practised(Net())
    assert findings("NW303", still(model)) == ()
    with torch.no_grad():
        model.get_buffer("norm2.running_var").mul_(0.01)
        model.get_buffer("norm2.running_mean").sub_(3.0)
    (finding,) = findings("NW303", still(model))
    assert (finding.layer, finding.applicability) == ("norm2", "advice")


def test_what_is_cut_off_is_named_where_the_gradient_ends() -> None:
    (finding,) = findings("NW304", still(Net(cut=True)))
    assert (finding.layer, finding.confidence) == ("first", 0.97)


@pytest.mark.parametrize(
    ("names", "layers"),
    [(("second",), ["second"]), (("first", "second"), ["first", "second"]), (("head",), ["head"])],
)
def test_frozen_layers_with_random_weights_are_named_and_thawed(
    names: tuple[str, ...], layers: list[str]
) -> None:
    model = frozen(Net(), *names)
    (finding,) = findings("NW304", still(model))
    assert [finding.layer, *finding.also] == layers
    assert findings("NW304", still(fix.apply(setup_of(model), finding).model)) == ()


def as_trained(model: Net) -> Net:
    """With a direction that random weights have not, as training leaves it."""
    with torch.no_grad():
        for name in ("first", "second"):
            weight: Any = model.get_submodule(name).weight
            weight += 0.3 * torch.outer(torch.ones(len(weight)), torch.ones(weight.shape[1]))
    return model


def test_a_backbone_that_was_trained_may_be_frozen() -> None:
    model = as_trained(Net())
    assert findings("NW304", still(frozen(model, "first", "second"))) == ()


class Adapted(nn.Module):
    """A frozen layer with one of low rank beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.head = nn.Linear(6, 8).requires_grad_(False), nn.Linear(8, 3)
        self.down, self.up = nn.Linear(6, 2), nn.Linear(2, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.base(x) + self.up(self.down(x))).relu())


def test_a_frozen_layer_with_an_adapter_beside_it_is_no_fault() -> None:
    assert findings("NW304", still(Adapted())) == ()


class Heads(nn.Module):
    """Two heads, and a frozen target network of the same inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.one, self.two = nn.Linear(6, 8), nn.Linear(8, 3), nn.Linear(8, 3)
        self.target = nn.Linear(6, 3).requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y = self.body(x).relu()
        return self.one(y), self.two(y), self.target(x)


def test_a_head_that_the_loss_does_not_look_at_and_a_target_network_are_no_fault() -> None:
    def loss(outputs: tuple[Tensor, ...], classes: Tensor) -> Tensor:
        return F.cross_entropy(outputs[0], classes) + F.mse_loss(outputs[0], outputs[2])

    assert findings("NW304", replace(still(Heads()), loss=loss)) == ()


def test_an_optimizer_of_another_model_is_named() -> None:
    model = Net()
    other = torch.optim.SGD(copy.deepcopy(model).parameters(), lr=0.1)
    (finding,) = findings("NW304", replace(still(model), optimizer=other))
    assert finding.layer == "first"
    own = torch.optim.SGD(model.parameters(), lr=0.1)
    assert findings("NW304", replace(still(model), optimizer=own)) == ()


def test_a_new_head_that_the_optimizer_does_not_know_is_named() -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.head = nn.Linear(24, 3)
    assert layers_of("NW304", replace(still(model), optimizer=optimizer)) == ["head"]


def test_an_optimizer_of_the_last_layers_alone_is_meant() -> None:
    model = as_trained(Net())
    optimizer = torch.optim.SGD(model.head.parameters(), lr=0.1)
    assert findings("NW304", replace(still(model), optimizer=optimizer)) == ()
    model = Net()
    optimizer = torch.optim.SGD(model.head.parameters(), lr=0.1)
    (finding,) = findings("NW304", replace(still(model), optimizer=optimizer))
    assert "those that it does not move are random" in finding.message


class Held(Net):
    """`train()` leaves the norms in evaluation, as for fine-tuning; here nothing was trained before."""

    def train(self, mode: bool = True) -> Held:
        super().train(mode)
        self.norm1.eval()
        self.norm2.eval()
        return self


def test_norms_that_the_models_own_train_holds_in_evaluation() -> None:
    assert layers_of("NW301", still(Held())) == ["norm1", "norm2"]
    assert layers_of("NW301", still(Net())) == []
