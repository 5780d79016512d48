"""How often a monitor looks, where its records go, and what it says of both modes."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from normwise.errors import ArgumentError
from normwise.monitor import ModesRecord, Monitor, StepRecord, monitor as monitor_module, pace as pace_module
from normwise.monitor.pace import Pace


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 3))


@pytest.fixture
def optimizer(model: nn.Sequential) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), 0.1)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, scale: float = 1.0) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        (scale * model(torch.randn(8, 6)).square().mean()).backward()
        optimizer.step()


def watched_steps(pace: Pace, costs: Iterator[float], durations: Iterator[float], steps: int) -> list[int]:
    """The steps that are watched where steps and checks take so long."""
    found, due, now = [], True, [0.0]
    patch = pytest.MonkeyPatch()
    patch.setattr(pace_module.time, "perf_counter", lambda: now[0])
    for step in range(steps):
        now[0] += next(durations)
        if due:
            found.append(step)
            cost = next(costs)
            now[0] += cost
            pace.watched(cost)
        else:
            pace.unwatched()
        due = pace.due()
    patch.undo()
    return found


def forever(value: float) -> Iterator[float]:
    while True:
        yield value


def test_the_interval_is_as_long_as_the_cost_asks_for() -> None:
    steps = watched_steps(Pace(0.02, 1), forever(0.008), forever(0.02), 101)
    assert steps == [0, 20, 40, 60, 80, 100]  # .008 s in 20 steps of .02 s are 2 %


def test_the_interval_follows_the_cost() -> None:
    costs = iter([0.016, 0.004, 0.004, 0.008, 0.008])
    assert watched_steps(Pace(0.02, 1), costs, forever(0.02), 90) == [0, 40, 50, 60, 80]


def test_checks_are_at_least_so_many_steps_apart() -> None:
    assert watched_steps(Pace(0.02, 30), forever(0.008), forever(0.02), 91) == [0, 30, 60, 90]
    assert watched_steps(Pace(math.inf, 1), forever(0.008), forever(0.02), 4) == [0, 1, 2, 3]


def test_a_pause_gives_no_credit() -> None:
    def durations() -> Iterator[float]:
        for step in range(200):
            yield 60.0 if step % 10 == 5 else 0.02  # a validation

    steps = watched_steps(Pace(0.02, 1), forever(0.0079), durations(), 100)
    assert steps == [0, 20, 40, 60, 80]


def test_records_go_to_every_sink_as_whole_lines(
    model: nn.Sequential, optimizer: torch.optim.Optimizer, tmp_path: Path
) -> None:
    path, taken = tmp_path / "monitor.jsonl", []
    lines = []

    def read(record: Any) -> None:
        taken.append(record)
        lines.append(path.read_text().splitlines())

    with Monitor(model, optimizer, sinks=[str(path), read], overhead=math.inf, every=1) as monitor:
        train(model, optimizer, 2)
        train(model, optimizer, 1, scale=math.inf)
        monitor.check_eval(torch.randn(8, 6))
    assert tuple(taken) == monitor.records
    assert [len(each) for each in lines] == [1, 2, 3, 4]
    parsed = [json.loads(line) for line in lines[-1]]
    assert [each["record"] for each in parsed] == ["step", "step", "step", "modes"]
    assert parsed[1]["layers"][0]["gradient_rms"] == monitor.steps[1]["0"].gradient_rms
    assert parsed[2]["layers"][0]["gradient_rms"] is None
    assert parsed[2]["layers"][0]["finite"] is False
    with pytest.raises(json.JSONDecodeError):
        json.loads(lines[-1][0][:-1])


def test_what_sinks_take_is_a_cost(model: nn.Sequential, optimizer: torch.optim.Optimizer) -> None:
    costs, now = [], [0.0]

    def slow(record: Any) -> None:
        now[0] += 7.0

    with Monitor(model, optimizer, sinks=[slow]), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pace, "watched", lambda self, cost: costs.append(cost))
        patch.setattr(monitor_module.time, "perf_counter", lambda: now[0])
        train(model, optimizer, 1)
    assert costs[0] >= 7.0


def test_a_file_of_an_earlier_run_goes_on(
    model: nn.Sequential, optimizer: torch.optim.Optimizer, tmp_path: Path
) -> None:
    path = tmp_path / "monitor.jsonl"
    for _ in range(2):
        with Monitor(model, optimizer, sinks=path):
            train(model, optimizer, 1)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [0, 0]


def test_a_layer_is_found_by_name(model: nn.Sequential, optimizer: torch.optim.Optimizer) -> None:
    with Monitor(model, optimizer) as monitor:
        train(model, optimizer, 1)
    record = monitor.steps[0]
    assert record["4"] is record.layers[1]
    with pytest.raises(KeyError, match="5"):
        record["5"]


def difference(one: torch.Tensor, base: torch.Tensor) -> float:
    return float((one - base).norm() / (base - base.mean()).norm())


def test_modes_are_told_apart_by_what_keeps_them_apart(model: nn.Sequential) -> None:
    inputs = 3 * torch.randn(64, 6) + 1
    monitor = Monitor(model, torch.optim.SGD(model.parameters(), 0.1))
    with torch.no_grad():
        base = model.eval()(inputs)
        model[1].train()
        model[1].momentum = 0.0
        expected = difference(model(inputs), base)
    record = monitor.check_eval(inputs, loss=lambda output: output.square().mean())
    assert record.of_norms == pytest.approx(expected, rel=1e-4)
    assert record.of_rest is not None
    assert record.of_rest > 0.1
    assert record.evaluation_loss == pytest.approx(float(base.square().mean()), rel=1e-4)
    assert record.training_loss != record.evaluation_loss
    assert monitor.records == (record,)
    assert isinstance(record, ModesRecord)
    model[3].p, model[1].running_var, model[1].running_mean = 0.0, *_statistics(model, inputs)
    calm = monitor.check_eval(inputs)
    assert calm.difference is not None
    assert calm.difference < 0.05
    assert calm.of_rest == 0.0
    assert calm.training_loss is None


def _statistics(model: nn.Sequential, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        return torch.var_mean(model[0](inputs), dim=0, correction=0)


def test_looking_at_both_modes_changes_nothing(
    model: nn.Sequential, optimizer: torch.optim.Optimizer
) -> None:
    with Monitor(model, optimizer, overhead=math.inf, every=1) as monitor:
        train(model, optimizer, 1)
        model[1].eval()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        state = torch.get_rng_state()
        monitor.check_eval(torch.randn(8, 6, generator=torch.Generator().manual_seed(0)))
        assert torch.equal(torch.get_rng_state(), state)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert [module.training for module in model] == [True, False, True, True, True]
        train(model, optimizer, 1)
    assert [type(record) for record in monitor.records] == [StepRecord, ModesRecord, StepRecord]
    assert monitor.steps[1].layers[0].activation == "relu"


def test_a_model_without_outputs_to_compare_is_refused() -> None:
    class Integers(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return super().forward(input).argmax(dim=1)

    model = Integers(3, 2)
    monitor = Monitor(model, torch.optim.SGD(model.parameters(), 0.1))
    with pytest.raises(ArgumentError, match="floating-point"):
        monitor.check_eval(torch.randn(4, 3))
