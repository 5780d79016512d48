from __future__ import annotations

import numpy as np
import pytest

from normwise.data.task import checked_task, labelled, read_target
from normwise.errors import DataError, UnknownNameError


@pytest.mark.parametrize(
    ("values", "task", "classes", "reason"),
    [
        (np.array(["b", "a", "b"]), "classification", ("a", "b"), "2 distinct words"),
        (np.array(["c10", "c2", "c2"]), "classification", ("c2", "c10"), "2 distinct words"),
        (np.array([b"no", b"yes"]), "classification", ("no", "yes"), "2 distinct words"),
        (np.array([True, False]), "classification", ("False", "True"), "2 distinct booleans"),
        (np.arange(40) % 20, "classification", tuple(map(str, range(20))), "20 distinct integers"),
        (np.arange(42) % 21, "regression", (), "21 distinct integers"),
        (np.array([10.0, -2.0, 10.0]), "classification", ("-2", "10"), "2 distinct integers"),
        (np.array([0.5, 1.0, 0.5]), "regression", (), "2 distinct numbers with fractions"),
    ],
)
def test_rule(values: np.ndarray, task: str, classes: tuple[str, ...], reason: str) -> None:
    target = read_target("y", values, task=None)
    assert (target.task, target.classes, target.reason) == (task, classes, f"told from the target: {reason}")


def test_labels_beside_images_may_be_many() -> None:
    labels = np.tile(np.arange(100), 5)
    assert read_target("y", labels, task=None, images=True).task == "classification"
    assert read_target("y", labels, task=None, images=False).task == "regression"
    assert read_target("y", labels + 1, task=None, images=True).task == "regression"
    assert read_target("y", labels[:-1], task=None, images=True).task == "regression"


def test_codes_point_at_their_classes() -> None:
    words = np.array(["x10", "x9", "x10", "a"])
    target = read_target("y", words, task=None)
    assert [target.classes[code] for code in target.values.astype(int)] == words.tolist()
    numbers = np.array([7.0, -1.0, 3.0])
    target = read_target("y", numbers, task=None)
    assert [float(target.classes[code]) for code in target.values.astype(int)] == numbers.tolist()


def test_task_asked_for_wins() -> None:
    few = read_target("y", np.array([1, 2, 1]), task="regression")
    assert few.task == "regression"
    assert few.values.dtype == np.float64
    assert few.reason == "as asked (2 distinct integers)"
    fractions = read_target("y", np.array([0.5, 1.5]), task="classification")
    assert fractions.classes == ("0.5", "1.5")
    assert read_target("y", np.array([True, False]), task="regression").values.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([3, 3]), "at least two values. Got 3 in every row"),
        (np.array(["a", "a"]), "Got 'a' in every row"),
        (np.array([1.0, np.inf, -np.inf]), "Got 2 other values, the first one inf in row 2"),
        (np.array([1.0, 2.0, np.nan]), "Got 1 other value, the first one nan in row 3"),
        (np.array([1e31, 2.0]), "within ±1e\\+30"),
    ],
)
def test_bad_targets(values: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_target("y", values, task=None)


def test_words_are_no_quantity() -> None:
    with pytest.raises(DataError, match=r"must be numbers for task='regression'. Got words such as 'low'"):
        read_target("y", np.array(["low", "high"]), task="regression")
    with pytest.raises(DataError, match="this target is a label"):
        labelled("digit", np.array([0, 1]), ("0", "1"), "labels", "regression")


def test_unknown_task_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'regression'"):
        checked_task("regresion")
