from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn import metrics

from normwise.compare.measures import MEASURES, find_measure, finite
from normwise.errors import UnknownNameError
from normwise.results import TrialRecord

MakeRecord = Callable[..., TrialRecord]
CLASSES = 5


@pytest.fixture
def classified() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(0, CLASSES - 1, (60,), generator=generator)  # the last class has no rows
    return torch.randn(60, CLASSES, generator=generator) + torch.eye(CLASSES)[targets], targets


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("accuracy", lambda t, p: 100 * metrics.accuracy_score(t, p)),
        ("macro_f1", lambda t, p: 100 * metrics.f1_score(t, p, average="macro")),
    ],
)
def test_metrics_of_classes_are_those_of_scikit_learn(
    classified: tuple[torch.Tensor, torch.Tensor], name: str, reference: Callable[..., float]
) -> None:
    output, targets = classified
    expected = reference(targets.numpy(), output.argmax(1).numpy())
    assert MEASURES[name].compute(output, targets) == pytest.approx(expected)


def test_balanced_accuracy_averages_over_the_classes_that_have_rows() -> None:
    generator = torch.Generator().manual_seed(1)
    targets = torch.cat([torch.zeros(50), torch.ones(5), torch.full((3,), 2)]).long()
    output = torch.randn(58, 3, generator=generator) + 2 * torch.eye(3)[0]
    expected = 100 * metrics.balanced_accuracy_score(targets, output.argmax(1))
    assert MEASURES["balanced_accuracy"].compute(output, targets) == pytest.approx(expected)
    absent = torch.nn.functional.pad(output, (0, 1), value=-100.0)  # one more class, never there
    assert MEASURES["balanced_accuracy"].compute(absent, targets) == pytest.approx(expected)
    assert MEASURES["macro_f1"].compute(absent, targets) == pytest.approx(
        MEASURES["macro_f1"].compute(output, targets)
    )


def test_log_loss_is_that_of_scikit_learn(classified: tuple[torch.Tensor, torch.Tensor]) -> None:
    output, targets = classified
    expected = metrics.log_loss(targets, torch.softmax(output.double(), 1), labels=range(CLASSES))
    assert MEASURES["log_loss"].compute(output, targets) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("rmse", metrics.root_mean_squared_error),
        ("mae", metrics.mean_absolute_error),
        ("r2", metrics.r2_score),
    ],
)
def test_metrics_of_numbers_are_those_of_scikit_learn(name: str, reference: Callable[..., float]) -> None:
    generator = np.random.default_rng(0)
    target = generator.normal(150, 40, 80)
    output = target + generator.normal(0, 10, 80)
    found = MEASURES[name].compute(torch.from_numpy(output), torch.from_numpy(target))
    assert found == pytest.approx(reference(target, output))


def test_time_to_a_target_lies_between_the_evaluations_around_it(make_record: MakeRecord) -> None:
    record = make_record(validation=(10.0, 50.0, 90.0), last_step=100, seconds_per_step=0.5)
    accuracy = MEASURES["accuracy"]
    assert accuracy.steps_to(record, 60.0) == pytest.approx(62.5)
    assert accuracy.seconds_to(record, 60.0) == pytest.approx(31.25)
    assert accuracy.steps_to(record, 50.0) == pytest.approx(50.0)
    assert accuracy.steps_to(record, 90.1) is None
    assert accuracy.seconds_to(record, 90.1) is None


def test_the_first_crossing_counts_even_if_the_run_falls_back(make_record: MakeRecord) -> None:
    record = make_record(validation=(0.0, 80.0, 20.0), last_step=100)
    assert MEASURES["accuracy"].steps_to(record, 40.0) == pytest.approx(25.0)


def test_where_less_is_better_the_target_is_reached_from_above(make_record: MakeRecord) -> None:
    record = make_record(validation=(90.0, 50.0, 30.0), last_step=100)
    assert MEASURES["rmse"].steps_to(record, 70.0) == pytest.approx(25.0)
    assert MEASURES["rmse"].steps_to(record, 29.0) is None


def test_a_target_that_needs_no_training_takes_the_first_evaluation_after_some(
    make_record: MakeRecord,
) -> None:
    record = make_record(validation=(50.0, 60.0, 70.0), last_step=100)
    assert MEASURES["accuracy"].steps_to(record, 40.0) == 50.0


def test_an_evaluation_without_a_value_is_no_crossing(make_record: MakeRecord) -> None:
    record = make_record(validation=(10.0, None, 70.0), last_step=100)
    assert MEASURES["accuracy"].steps_to(record, 40.0) == 100.0


def test_the_end_of_a_trial(make_record: MakeRecord) -> None:
    accuracy = MEASURES["accuracy"]
    finished = make_record(validation=(10.0, 90.0), test=(12.0, 88.0))
    diverged = make_record(validation=(10.0, 90.0), test=(12.0, 88.0), outcome="diverged")
    raised = make_record(outcome="raised")
    assert accuracy.final(finished, "test") == accuracy.settled(finished, "test") == 88.0
    assert accuracy.final(diverged, "test") is None
    assert accuracy.settled(diverged, "test") == 12.0
    assert accuracy.final(raised, "test") is None
    assert accuracy.settled(raised, "test") is None
    assert accuracy.final(None, "test") is None


def test_metrics_are_found_by_task() -> None:
    assert find_measure(None, "classification")[0].name == "accuracy"
    assert find_measure(None, "regression")[0].name == "rmse"
    assert find_measure("mae", "regression")[0].sign == -1
    with pytest.raises(UnknownNameError, match="metric for classification 'rmse'"):
        find_measure("rmse", "classification")
    assert find_measure("accuracy", "classification")[0].difference_unit == "pp"
    assert find_measure("log_loss", "classification")[0].difference_unit == "nats"


def test_numbers_that_are_not_finite_are_none() -> None:
    assert finite(1.5) == 1.5
    assert finite(float("inf")) is None
    assert finite(float("nan")) is None
