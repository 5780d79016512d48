from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from normwise.data import load
from normwise.errors import DataError, UnknownNameError

WriteCsv = Callable[[str], Path]

ROWS = [("a", 1.5, 10), ("b", 2.5, 11), ("a", 3.5, 12), ("b", 0.5, 13)] * 5


def _text(header: str = "kind,size,age", rows: list[tuple[object, ...]] | None = None) -> str:
    return "\n".join([header, *(",".join(str(field) for field in row) for row in rows or ROWS)]) + "\n"


def test_classification_from_words(write_csv: WriteCsv) -> None:
    path = write_csv(_text())
    data = load(str(path), target="kind")
    assert (data.name, data.source, data.kind) == ("train", str(path), "table")
    assert (data.task, data.classes, data.target) == ("classification", ("a", "b"), "kind")
    assert data.task_reason == "told from the target: 2 distinct words"
    assert (data.inputs, data.rows, data.in_shape) == ("2 numeric columns", 20, None)


def test_regression_in_its_own_units(write_csv: WriteCsv) -> None:
    data = load(str(write_csv(_text())), target="size")
    assert data.inputs == "1 numeric and 1 categorical column"
    split = data.split(3)
    sizes = split.train.targets * split.target_std + split.target_mean
    assert set(np.round(sizes.tolist(), 5)) <= {0.5, 1.5, 2.5, 3.5}
    assert split.train.targets.mean().item() == pytest.approx(0, abs=1e-6)
    assert (split.in_shape, split.out_features) == ((3,), 1)


def test_parquet_and_csv_give_the_same_data(write_csv: WriteCsv, tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"kind": [r[0] for r in ROWS], "size": [r[1] for r in ROWS], "age": [r[2] for r in ROWS]}
    )
    frame.write_parquet(tmp_path / "a.parquet")
    from_parquet = load(str(tmp_path / "a.parquet"), target="kind")
    from_csv = load(str(write_csv(_text())), target="kind")
    assert from_parquet.fingerprint == from_csv.fingerprint


def test_boolean_target(write_csv: WriteCsv) -> None:
    rows = [(index, index % 2 == 0) for index in range(12)]
    data = load(str(write_csv(_text("n,good", rows))), target="good")
    assert data.classes == ("False", "True")
    assert data.task_reason == "told from the target: 2 distinct booleans"


def test_rows_without_target_are_dropped_and_counted(write_csv: WriteCsv) -> None:
    rows = [("", 9.0, 9), *ROWS, ("NA", 7.0, 7)]
    data = load(str(write_csv(_text(rows=rows))), target="kind")
    assert data.rows == 20
    assert data.notes[0] == "2 rows without a value of the target 'kind' dropped"


def test_rows_are_named_as_in_the_file(write_csv: WriteCsv) -> None:
    rows = [("", 9.0, 9), *ROWS, ("a", "inf", 7)]
    with pytest.raises(DataError, match=r"column 'size' .* first inf in row 22"):
        load(str(write_csv(_text(rows=rows))), target="kind")
    rows = [("a", "", 9), *ROWS, ("a", "inf", 7)]
    with pytest.raises(DataError, match=r"target 'size' .* first one inf in row 22"):
        load(str(write_csv(_text(rows=rows))), target="size")


@pytest.mark.parametrize(
    ("header", "guess"), [("a,Target,c", "Target"), ("y,label,c", "label"), ("a,b,my col", "'my col'")]
)
def test_no_target_lists_columns_and_an_option(write_csv: WriteCsv, header: str, guess: str) -> None:
    path = write_csv(_text(header))
    with pytest.raises(DataError) as error:
        load(str(path))
    assert f"for example --target {guess}." in str(error.value)
    for name in header.split(","):
        assert repr(name) in str(error.value)


def test_unknown_target_names_the_nearest(write_csv: WriteCsv) -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'size'\? Known: age, kind, size"):
        load(str(write_csv(_text())), target="sise")


@pytest.mark.parametrize(
    ("header", "rows", "target", "message"),
    [
        ("k,n", [("a", i) for i in range(12)], "k", "at least two values. Got 'a' in every row"),
        ("k,n", [("", i) for i in range(12)], "k", "must have values. Got none in 12 rows"),
        ("k,n", [("ab"[i % 2], i) for i in range(9)], "k", "at least 10 usable rows. Got 9 rows"),
        ("k", [("ab"[i % 2],) for i in range(12)], "k", "an input column beside the target"),
        ("k,n", [(f"w{i}", i) for i in range(12)], "k", "12 distinct words in 12 rows"),
    ],
)
def test_targets_that_cannot_be_used(
    write_csv: WriteCsv, header: str, rows: list[tuple[object, ...]], target: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(str(write_csv(_text(header, rows))), target=target)


def test_damaged_and_empty_parquet(tmp_path: Path) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 nothing of use PAR1")
    with pytest.raises(DataError, match="must be a Parquet file"):
        load(str(broken), target="a")
    frame = pl.DataFrame({"a": list(range(100)), "b": ["x", "y"] * 50})
    frame.write_parquet(tmp_path / "whole.parquet")
    broken.write_bytes((tmp_path / "whole.parquet").read_bytes()[:-40])
    with pytest.raises(DataError, match="must be a Parquet file"):
        load(str(broken), target="a")
    frame.head(0).write_parquet(tmp_path / "none.parquet")
    with pytest.raises(DataError, match="an empty table"):
        load(str(tmp_path / "none.parquet"), target="a")


def test_nested_target(tmp_path: Path) -> None:
    pl.DataFrame({"a": [[1]] * 12, "b": list(range(12))}).write_parquet(tmp_path / "n.parquet")
    with pytest.raises(DataError, match=r"must hold numbers, words or booleans. Got type List\(Int64\)"):
        load(str(tmp_path / "n.parquet"), target="a")
