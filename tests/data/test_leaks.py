from __future__ import annotations

import numpy as np
import pytest
from sklearn import datasets

from normwise.data.contents import Categorical, TableContents
from normwise.data.leaks import giveaways
from normwise.data.task import Target, read_target

RANDOM = np.random.default_rng(0)
NOISE = RANDOM.normal(size=(300, 4))


def _warnings(target: np.ndarray, words: Categorical | None = None, **columns: np.ndarray) -> tuple[str, ...]:
    block = np.column_stack([NOISE, *columns.values()])
    names = (*(f"noise{index}" for index in range(4)), *columns)
    table = TableContents(names, block, () if words is None else (words,))
    return giveaways(table, read_target("y", target, task=None), np.arange(300))


CLASSES = RANDOM.integers(0, 2, 300)
QUANTITY = RANDOM.normal(size=300)


def test_numbers_that_give_a_class_away() -> None:
    found = _warnings(CLASSES, **{"final grade": CLASSES * 10 + RANDOM.normal(size=300)})
    assert len(found) == 1
    assert found[0].startswith(
        "'final grade' alone predicts the target (nearly) perfectly, AUC 1 on rows held out"
    )
    assert found[0].endswith("leave it out with --drop 'final grade'")


def test_gaps_that_give_a_class_away() -> None:
    found = _warnings(CLASSES, paid=np.where(CLASSES == 1, RANDOM.normal(size=300), np.nan))
    assert len(found) == 1
    assert "'paid'" in found[0]


def test_words_that_give_classes_away() -> None:
    classes = RANDOM.integers(0, 4, 300)
    codes = classes * 5 + RANDOM.integers(0, 5, 300)
    found = _warnings(classes, Categorical("code", codes, tuple(map(str, range(20)))))
    assert "'code'" in found[0]
    assert "accuracy 1" in found[0]


def test_numbers_that_give_a_quantity_away() -> None:
    assert "R² " in _warnings(QUANTITY, copy=np.exp(QUANTITY))[0]
    assert _warnings(QUANTITY, near=QUANTITY + 0.2 * RANDOM.normal(size=300)) == ()


def test_many_columns_make_one_sentence() -> None:
    found = _warnings(CLASSES, **{f"copy{index}": CLASSES + index for index in range(7)})
    assert len(found) == 1
    assert "and 4 other columns each alone predict" in found[0]


def test_rare_classes_and_few_rows_say_nothing() -> None:
    rare = (np.arange(300) < 6).astype(np.int64)
    assert _warnings(rare, copy=rare.astype(float)) == ()
    table = TableContents(("copy",), CLASSES[:40, None].astype(float))
    assert giveaways(table, read_target("y", CLASSES[:40], task=None), np.arange(40)) == ()


@pytest.mark.parametrize("name", ["breast_cancer", "wine", "digits", "diabetes"])
def test_honest_data_is_not_suspected(name: str) -> None:
    bunch = getattr(datasets, f"load_{name}")()
    names = tuple(str(index) for index in range(bunch.data.shape[1]))
    target: Target = read_target("y", bunch.target, task="regression" if name == "diabetes" else None)
    assert giveaways(TableContents(names, bunch.data), target, np.arange(len(bunch.target))) == ()
