import dataclasses
import math
from typing import Any

import pytest
import torch

import normwise.compare.trial
from normwise.compare.network_spec import Initialization, Network
from normwise.compare.plan import Ground, Trial
from normwise.compare.trial import EVALUATIONS, SIGNALS, evaluation_steps, run_trial
from normwise.compare.variant import Variant
from normwise.data import Dataset, load
from normwise.results import TrialRecord, dumps, loads

MLP = Network(kind="mlp", widths=(8, 8, 8))


@pytest.fixture(scope="module")
def wine() -> Dataset:
    return load("wine")


@pytest.fixture(scope="module")
def diabetes() -> Dataset:
    return load("diabetes")


def trial(
    norm: str = "batch", *, lr: float = 0.05, metric: str = "accuracy", seed: int = 3, **variant: Any
) -> Trial:
    ground = Ground(MLP, None, 32, "sgd", 20)
    return Trial("data", metric, ground, Variant(norm=norm, **variant), Initialization(), lr, seed)


def untimed(record: TrialRecord) -> TrialRecord:
    evaluations = tuple(dataclasses.replace(e, seconds=0.0) for e in record.evaluations)
    return dataclasses.replace(record, evaluations=evaluations, wall_seconds=0.0)


@pytest.mark.parametrize("variant", [{"norm": "batch", "dropout": 0.3}, {"norm": "weight"}], ids=str)
def test_a_trial_gives_the_same_numbers_again_and_leaves_the_random_state_alone(
    wine: Dataset, variant: dict[str, Any]
) -> None:
    torch.manual_seed(11)
    state = torch.get_rng_state()
    first = run_trial(trial(**variant), wine)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(12)
    assert untimed(run_trial(trial(**variant), wine)) == untimed(first)
    assert first.outcome == "finished"


def test_a_trial_is_evaluated_before_at_the_end_and_between(wine: Dataset) -> None:
    record = run_trial(trial(), wine)
    assert [e.step for e in record.evaluations] == evaluation_steps(20)
    steps = [signals.step for signals in record.signals]
    assert steps[0] == 0
    assert steps[-1] == 20
    assert len(steps) == len(set(steps)) == SIGNALS
    seconds = [e.seconds for e in record.evaluations]
    assert seconds[0] == 0.0
    assert seconds == sorted(seconds)
    assert record.wall_seconds > seconds[-1] > 0
    assert len(record.layers) == len(record.sizes) == 3
    assert loads(dumps(record), TrialRecord) == record


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 250, 100_000])
def test_evaluations_go_from_before_training_to_the_last_step(steps: int) -> None:
    found = evaluation_steps(steps)
    assert found[0] == 0
    assert found[-1] == steps
    assert found == sorted(set(found))
    assert len(found) <= EVALUATIONS + 1


def test_the_last_evaluation_reads_whole_parts_in_evaluation_mode(wine: Dataset) -> None:
    record, split = run_trial(trial(), wine), wine.split(3)
    last = record.evaluations[-1]
    for metric, part in (
        (last.train_metric, split.train),
        (last.validation_metric, split.validation),
        (last.test_metric, split.test),
    ):
        assert metric is not None
        hits = metric * len(part.targets) / 100
        assert hits == pytest.approx(round(hits), abs=1e-3)
    assert record.train_mode_loss is not None
    assert last.train_loss is not None
    assert record.train_mode_loss != pytest.approx(
        last.train_loss, rel=1e-6
    )  # batch statistics, not running ones
    plain = run_trial(trial("none"), wine)
    assert plain.train_mode_loss == pytest.approx(plain.evaluations[-1].train_loss, rel=0.2)


def test_errors_of_a_regression_are_in_the_target_s_own_units(diabetes: Dataset) -> None:
    record, split = run_trial(trial("none", metric="rmse"), diabetes), diabetes.split(3)
    assert split.target_std > 50
    for e in record.evaluations:
        assert e.test_loss is not None
        assert e.test_metric == pytest.approx(math.sqrt(e.test_loss) * split.target_std, rel=1e-4)


def test_a_divergence_is_an_outcome(diabetes: Dataset) -> None:
    record = run_trial(trial("none", metric="rmse", lr=1e6), diabetes)
    assert record.outcome == "diverged"
    assert record.diverged_at is not None
    assert record.evaluations[-1].step == record.diverged_at == record.signals[-1].step
    assert record.evaluations[-1].test_metric is None
    assert record.error is None
    assert loads(dumps(record), TrialRecord) == record


def test_a_finite_loss_far_above_the_first_is_a_divergence_too(wine: Dataset) -> None:
    record = run_trial(trial("none", lr=30.0), wine)
    end, start = record.evaluations[-1].train_loss, record.evaluations[0].train_loss
    assert record.diverged_at is None
    assert end is not None
    assert start is not None
    assert end > 2 * start
    assert record.outcome == "diverged"


def test_a_trial_that_raises_is_recorded_and_not_raised(
    wine: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("no such luck")

    monkeypatch.setattr(normwise.compare.trial, "Training", broken)
    record = run_trial(trial(), wine)
    assert (record.outcome, record.error) == ("raised", "ValueError: no such luck")
    assert record.evaluations == ()
    assert record.description["variant"] == "batch"
    assert loads(dumps(record), TrialRecord) == record


def test_a_trial_says_what_it_was(wine: Dataset) -> None:
    record = run_trial(trial(dropout=0.1), wine)
    assert record.key == trial(dropout=0.1).key
    described = {"variant": "batch + dropout 0.1", "lr": 0.05, "seed": 3, "batch_size": 32, "steps": 20}
    assert described.items() <= record.description.items()
