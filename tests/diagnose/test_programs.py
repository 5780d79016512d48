"""Networks and optimizers as people have them: they are diagnosed as they are, and are as before afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation
from torch.utils.checkpoint import checkpoint

import normwise as nw
from normwise.diagnose.subject import OptimizerChoice
from normwise.errors import ArgumentError
from normwise.results.diagnosis import Diagnosis

STEPS = 30


def blobs(count: int = 400, features: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(3, (count,), generator=generator)
    centres = 2 * torch.randn(3, features, generator=generator)
    return centres[targets] + torch.randn(count, features, generator=generator), targets


def diagnosed(model: nn.Module, optimizer: torch.optim.Optimizer | None = None, **options: Any) -> Diagnosis:
    return nw.diagnose(model, optimizer=optimizer, data=blobs(), steps=STEPS, **options)


def codes(diagnosis: Diagnosis) -> list[str]:
    return [finding.code for finding in diagnosis.findings]


class Keeps(nn.Module):
    """Keeps what its last pass made."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(6, 8, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        output, self.hidden = self.cell(x[:, None])
        self.attention = output.softmax(dim=-1)
        out: Tensor = self.head(output[:, -1])
        return out


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU())
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(checkpoint(self.body, x, use_reentrant=False))
        return out


def old_weight_norm() -> nn.Module:
    with pytest.warns(FutureWarning):
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(6, 16)), nn.ReLU(), nn.Linear(16, 3))


@pytest.mark.parametrize("make", [Keeps, Checkpointed, old_weight_norm])
def test_networks_that_copy_or_run_in_their_own_way(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    model = make()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    kept = set(vars(model))
    found = diagnosed(model, torch.optim.Adam(model.parameters(), 1e-2))
    assert found.vitals[0].detail != "not measured"
    assert "NW304" not in codes(found)
    assert set(vars(model)) == kept
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)


def test_a_network_that_ran_before_keeps_what_it_kept() -> None:
    model = Keeps()
    model(blobs()[0][:4])
    kept = model.attention
    diagnosed(model, torch.optim.Adam(model.parameters(), 1e-2))
    assert model.attention is kept


def test_gradients_may_be_sparse() -> None:
    model = nn.Sequential(nn.EmbeddingBag(20, 8, sparse=True), nn.Linear(8, 3))
    words, classes = torch.randint(20, (200, 5)), torch.randint(3, (200,))
    found = nw.diagnose(
        model, data=(words, classes), optimizer=torch.optim.SGD(model.parameters(), 0.1), steps=STEPS
    )
    assert "NW512" not in codes(found)


def test_an_input_may_be_one_number() -> None:
    class Cubic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.powers = nn.Linear(3, 1)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.powers(torch.stack((x, x**2, x**3), dim=1))[:, 0]
            return out

    x = torch.linspace(-1, 1, 200)
    assert codes(nw.diagnose(Cubic(), data=(x, x.sin()), steps=STEPS)) == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of torch.jit
def test_what_compiles_or_spreads_a_model_is_taken_off() -> None:
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    assert diagnosed(torch.compile(model)).subject == "Sequential"
    assert diagnosed(nn.DataParallel(model)).subject == "Sequential"
    with pytest.raises(ArgumentError, match=r"hooks must see what runs. Got `0` scripted"):
        diagnosed(nn.Sequential(torch.jit.script(nn.Linear(6, 3))))


class Signs(torch.optim.Optimizer):
    """Somebody's own."""

    def __init__(self, params: Any, lr: float, shrink: float = 1.0) -> None:
        super().__init__(params, {"lr": lr, "shrink": shrink})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.mul_(group["shrink"]).sub_(p.grad.sign(), alpha=group["lr"])


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


def test_the_training_is_that_of_the_optimizer() -> None:
    model = network()
    for optimizer in (
        Signs(model.parameters(), 1e-3, shrink=0.99),
        torch.optim.NAdam(model.parameters(), 1e-2, decoupled_weight_decay=True),
        torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, dampening=0.5, maximize=True),
        torch.optim.AdamW(model.parameters(), 1e-3, betas=(0.8, 0.9)),
    ):
        again = OptimizerChoice.of(optimizer, model).make(model)
        assert type(again) is type(optimizer)
        assert again.defaults == optimizer.defaults | {
            name: again.defaults[name] for name in again.defaults if name in ("weight_decay",)
        }


class Needs(Signs):
    def __init__(self, params: Any, base: object, lr: float) -> None:
        super().__init__(params, lr)


class Around(Signs):
    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        super().__init__(optimizer.param_groups, lr=1.0)
        self.optimizer = optimizer


def test_optimizers_of_optimizers() -> None:
    model = network()
    inner = torch.optim.Adam(model.parameters(), lr=0.02)
    assert OptimizerChoice.of(Around(inner), model).name == "Adam"
    with pytest.raises(ArgumentError, match="a Needs must be made of parameters, lr and its options"):
        diagnosed(model, Needs(model.parameters(), object(), lr=0.1))


def test_each_parameter_has_the_rate_of_its_group() -> None:
    model = network()
    groups = [{"params": model[0].parameters(), "lr": 1e-4}, {"params": [model[2].weight]}]
    choice = OptimizerChoice.of(torch.optim.Adam(groups, lr=1e-2), model)
    again = choice.make(model)
    rates = {id(p): group["lr"] for group in again.param_groups for p in group["params"]}
    assert rates[id(model[0].weight)] == pytest.approx(1e-4)
    assert rates[id(model[2].weight)] == pytest.approx(1e-2)
    assert id(model[2].bias) not in rates  # the optimizer does not have it
    warmed = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.optim.lr_scheduler.LambdaLR(warmed, lambda step: step / 10)
    assert OptimizerChoice.of(warmed, model).lr == 0.1  # not the 0 with which the warm-up begins
    with pytest.raises(ArgumentError, match=r"must step without a closure. Got LBFGS"):
        OptimizerChoice.of(torch.optim.LBFGS(model.parameters()), model)


def test_an_optimizer_that_climbs_is_named_and_turned_round() -> None:
    model = network()
    found = diagnosed(model, torch.optim.SGD(model.parameters(), lr=0.1, maximize=True))
    assert found.findings[0].code == "NW512"
    assert "maximize=True" in found.findings[0].message


def test_a_loss_above_that_of_a_constant_answer_is_a_plateau_though_it_falls() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.Sigmoid(), nn.Linear(16, 10), nn.Sigmoid())
    inputs, targets = blobs()

    def loss(output: Tensor, wanted: Tensor) -> Tensor:
        return F.mse_loss(output, F.one_hot(wanted, 10).float())

    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    found = nw.diagnose(model, loss=loss, optimizer=optimizer, data=(inputs, targets), steps=100)
    assert [f.message for f in found.findings if f.code == "NW509"] == [
        "after 400 steps the loss is not below that of the best answer that does not look at its input"
    ]
