"""Models that are no networks: right values on the networks' rows, within bounds, and never an exception."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable

import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from normwise.compare import references
from normwise.compare.executors import Task
from normwise.compare.network_spec import Network
from normwise.compare.plan import Ground
from normwise.compare.reference_effort import ROWS, SECONDS, Effort, boosting_effort, linear_effort
from normwise.compare.references import (
    COLUMNS,
    REFERENCES,
    ReferenceRecord,
    estimate_seconds,
    measure_reference,
    summarize_references,
)
from normwise.compare.splits import split_for
from normwise.data import Dataset, Part, Split, load
from normwise.results.codec import dumps, loads

GROUND = Ground(Network(kind="mlp", widths=(8,)), None, 64, "sgd", 100)
Measure = Callable[..., ReferenceRecord]


@pytest.fixture(scope="module")
def wine() -> Dataset:
    return load("wine")


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch, wine: Dataset) -> Callable[[Split], Measure]:
    """A way to measure on a split that is made up."""

    def use(split: Split) -> Measure:
        monkeypatch.setattr(references, "split_for", lambda *_: split)
        return lambda name, metric="accuracy": measure_reference(name, 0, metric, GROUND, wine)

    return use


def made(in_shape: tuple[int, ...], *, classes: int, rows: int = 120, missing: int | None = None) -> Split:
    """A split whose target is told by the first input; the training part may miss a class."""
    generator = torch.Generator().manual_seed(0)

    def part() -> Part:
        targets = torch.arange(rows) % classes if classes else torch.randn(rows, generator=generator)
        inputs = 0.1 * torch.randn(rows, *in_shape, generator=generator)
        inputs.view(rows, -1)[:, 0] += targets
        return Part(inputs, targets)

    train = part()
    if missing is not None:
        kept = train.targets != missing
        train = Part(train.inputs[kept], train.targets[kept])
    return Split(train, part(), part(), in_shape, classes or 1, 3.0, 2.0, ())


def test_the_majority_class_knows_the_shares_of_the_classes_and_nothing_else(wine: Dataset) -> None:
    split = split_for(GROUND, wine, 1)
    share = torch.bincount(split.train.targets) / len(split.train.targets)
    accuracy, loss, auc, f1 = (
        measure_reference("majority class", 1, metric, GROUND, wine).value
        for metric in ("accuracy", "log_loss", "auc", "macro_f1")
    )
    assert accuracy == pytest.approx(100 * (split.test.targets == share.argmax()).double().mean().item())
    assert loss == pytest.approx(-share.log()[split.test.targets].mean().item(), rel=1e-5)
    assert auc == 0.5
    assert f1 is not None
    assert accuracy is not None
    assert f1 < accuracy


def test_the_linear_model_of_classes_is_scikit_learns_on_the_networks_rows(wine: Dataset) -> None:
    split = split_for(GROUND, wine, 3)
    model = LogisticRegression(max_iter=300).fit(split.train.inputs.numpy(), split.train.targets.numpy())
    wanted = 100 * model.score(split.test.inputs.numpy(), split.test.targets.numpy())
    record = measure_reference("linear", 3, "accuracy", GROUND, wine)
    assert record.value == pytest.approx(wanted, rel=1e-5)
    assert record.notes == ()
    assert record.seconds is not None


def test_a_regression_is_scored_in_the_targets_own_unit() -> None:
    data = load("diabetes")
    split = split_for(GROUND, data, 0)
    raw = split.train.targets.double() * split.target_std + split.target_mean
    test = (split.test.targets.double() * split.target_std + split.target_mean).numpy()
    model = Ridge(alpha=1).fit(split.train.inputs.double().numpy(), raw.numpy())
    wanted = math.sqrt(((model.predict(split.test.inputs.double().numpy()) - test) ** 2).mean())
    linear = measure_reference("linear", 0, "rmse", GROUND, data).value
    assert linear == pytest.approx(wanted, rel=1e-4)
    mean = measure_reference("mean", 0, "rmse", GROUND, data).value
    assert mean == pytest.approx(math.sqrt(((raw.mean().item() - test) ** 2).mean()), rel=1e-4)
    boosting = measure_reference("gradient boosting", 0, "r2", GROUND, data).value
    assert boosting is not None
    assert 0.2 < boosting < 0.7


@pytest.mark.parametrize("name", REFERENCES["classification"][1:])
def test_classes_that_are_easily_told_are_told(name: str, on: Callable[[Split], Measure]) -> None:
    measure = on(made((5,), classes=3))
    accuracy, loss, auc = (measure(name, metric).value for metric in ("accuracy", "log_loss", "auc"))
    assert accuracy is not None
    assert loss is not None
    assert accuracy > 97
    assert loss < 0.7
    assert auc == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", REFERENCES["classification"])
def test_a_class_without_training_rows_is_never_meant_and_does_no_harm(
    name: str, on: Callable[[Split], Measure]
) -> None:
    measure = on(made((5,), classes=3, missing=1))
    accuracy, loss = measure(name).value, measure(name, "log_loss").value
    assert accuracy is not None
    assert accuracy <= 67
    assert loss is not None
    assert loss < 28  # −ln of the least probability


def test_one_class_alone_ends_in_a_note(on: Callable[[Split], Measure]) -> None:
    split = made((5,), classes=2, missing=1)
    record = on(split)("linear")
    assert record.value is None
    assert record.seconds is None
    assert record.notes[0].startswith("failed: ValueError: ")
    assert "\n" not in record.notes[0]


def test_whatever_goes_wrong_ends_in_a_note(monkeypatch: pytest.MonkeyPatch, wine: Dataset) -> None:
    def broken(*_: object) -> Split:
        raise MemoryError("no\nroom")

    monkeypatch.setattr(references, "split_for", broken)
    record = measure_reference("linear", 0, "accuracy", GROUND, wine)
    assert record.notes == ("failed: MemoryError: no room",)


def test_large_images_are_averaged_down_for_boosting(on: Callable[[Split], Measure]) -> None:
    record = on(made((3, 20, 30), classes=2, rows=40))("gradient boosting")
    assert record.notes == ("on images averaged down to 7×10 pixels",)
    assert record.value is not None
    small = on(made((1, 8, 8), classes=2, rows=40))("gradient boosting")
    assert small.notes == ()


@pytest.mark.parametrize("classes", [3, 0])
def test_of_many_columns_boosting_gets_those_that_matter(
    classes: int, on: Callable[[Split], Measure]
) -> None:
    record = on(made((COLUMNS + 50,), classes=classes))("gradient boosting", "accuracy" if classes else "r2")
    assert record.notes[0].startswith(f"on the {COLUMNS} of {COLUMNS + 50} columns")
    assert record.value is not None
    assert record.value > (95 if classes else 0.5)


def test_a_model_that_did_not_converge_says_so_and_warns_nobody(
    monkeypatch: pytest.MonkeyPatch, wine: Dataset
) -> None:
    monkeypatch.setattr(references, "linear_effort", lambda *_: Effort(50, 2, 0, 0.1))
    record = measure_reference("linear", 0, "accuracy", GROUND, wine)
    assert record.value is not None
    assert record.notes[0].startswith("fitted on 50 of 1")
    assert record.notes[1] == "not converged after 2 iterations"


def test_a_thousand_classes_are_no_case_for_boosting(on: Callable[[Split], Measure]) -> None:
    record = on(made((5,), classes=1000, rows=2000))("gradient boosting")
    assert record.value is None
    assert "1,000 classes" in record.notes[0]


@pytest.mark.parametrize("classes", [0, 2, 10, 100])
@pytest.mark.parametrize("features", [1, 30, 784, 12_288])
@pytest.mark.parametrize("rows", [10, 1000, 60_000, 1_000_000])
def test_a_fit_is_bounded_in_time(rows: int, features: int, classes: int) -> None:
    for effort in (
        linear_effort(rows, features, classes),
        boosting_effort(rows, min(features, COLUMNS), classes),
    ):
        assert min(rows, 1000) <= effort.rows <= min(rows, ROWS)
        fewest = effort.rows < 2000 and features * max(classes, 1) > 1_000_000
        assert effort.seconds <= (3 * SECONDS if fewest else 1.01 * SECONDS)


def test_the_estimate_grows_with_the_data() -> None:
    for name in REFERENCES["classification"][1:]:
        small, large = (estimate_seconds(name, rows, 20, 2) for rows in (200, 5000))
        assert 0 < small < large <= 2.1
    assert estimate_seconds("mean", 10**6, 10**4, 0) < 0.01


def test_the_summary_has_every_model_with_its_seeds_in_order() -> None:
    def record(name: str, seed: int, value: float | None, *notes: str) -> ReferenceRecord:
        return ReferenceRecord(
            name, seed, "" if value is None else "model", value, value and 0.1 * value, notes
        )

    results = summarize_references(
        [
            record("gradient boosting", 1, 9.0, "small"),
            record("linear", 2, None, "failed: no"),
            record("linear", 0, 5.0),
            record("linear", 1, 7.0),
            record("majority class", 0, 1.0),
        ]
    )
    assert [result.name for result in results] == ["majority class", "linear", "gradient boosting"]
    linear = results[1]
    assert linear.seeds == (0, 1, 2)
    assert linear.values == (5.0, 7.0, None)
    assert linear.median == 6.0
    assert linear.seconds == pytest.approx(0.6)
    assert linear.description == "model"
    assert linear.note == "failed: no (on 1 of 3 splits)"
    assert results[2].note == "small"
    assert summarize_references([]) == ()
    lost = summarize_references([record("mean", 0, None, "failed: no")])[0]
    assert (lost.median, lost.seconds, lost.description) == (None, None, "")


def test_a_record_and_its_task_travel() -> None:
    record = ReferenceRecord("linear", 3, "model", 1.5, None, ("a", "b"))
    assert loads(dumps(record), ReferenceRecord) == record
    task = Task("reference", "linear 3", measure_reference, ("linear", 3, "accuracy", GROUND))
    assert pickle.loads(pickle.dumps(task)) == task
