from __future__ import annotations

import numpy as np

from normwise.data.contents import Categorical, TableContents
from normwise.data.task import Target
from normwise.data.twins import contradictions, find_twins, joined

RANDOM = np.random.default_rng(0)


def _table(numeric: np.ndarray, codes: np.ndarray | None = None) -> TableContents:
    names = tuple(f"c{index}" for index in range(numeric.shape[1]))
    words = () if codes is None else (Categorical("k", codes, ("a", "b")),)
    return TableContents(names, numeric, words)


def test_equal_rows_are_found_whatever_their_columns_are() -> None:
    numeric = RANDOM.normal(size=(100, 3))
    numeric[7, 1] = np.nan
    numeric[40] = numeric[7]
    numeric[8, 0], numeric[41, 0] = 0.0, -0.0
    numeric[41, 1:] = numeric[8, 1:]
    numeric[50] = numeric[9]
    codes = np.zeros(100, dtype=np.int64)
    codes[50] = -1
    twins = find_twins(_table(numeric, codes))
    assert twins.repeated == 2
    assert not twins.coarse
    assert twins.inputs[40] == twins.inputs[7]
    assert twins.inputs[41] == twins.inputs[8]
    assert twins.inputs[50] != twins.inputs[9]
    assert sorted(twins.first.tolist()) == [row for row in range(100) if row not in (40, 41)]


def test_columns_in_another_order_of_values_are_not_equal() -> None:
    assert find_twins(_table(np.array([[1.0, 2.0], [2.0, 1.0]]))).repeated == 0


def test_columns_of_few_values_are_coarse() -> None:
    assert find_twins(_table(RANDOM.integers(0, 2, (500, 3)).astype(float))).coarse
    assert not find_twins(_table(np.tile(RANDOM.normal(size=(100, 2)), (3, 1)))).coarse


def test_contradictions_are_counted() -> None:
    numeric = np.arange(60.0)[:, None]
    numeric[1], numeric[3], numeric[4], numeric[5] = 0, 2, 2, 6
    twins = find_twins(_table(numeric))
    values = np.zeros(60, dtype=np.int64)
    values[[1, 4]] = 1
    target = Target("y", "classification", "", values, ("a", "b"))
    rows, said = contradictions(twins, target)
    assert rows == 5
    assert said.startswith("5 rows have the inputs of another row and a different target")
    assert contradictions(twins, Target("y", "classification", "", values * 0, ("a",))) == (0, "")


def test_groups_join_over_either_grouping() -> None:
    assert joined(np.array([0, 0, 1, 2, 3]), np.array([0, 1, 1, 2, 3])).tolist() == [0, 0, 0, 1, 2]
