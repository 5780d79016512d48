"""Tables and requests that cannot be used: each is refused in one line that names the place and the remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from normwise.data import load
from normwise.errors import ArgumentError, DataError, NormwiseError, UnknownNameError

RANDOM = np.random.default_rng(0)
N = 40


def _columns() -> dict[str, Any]:
    return {
        "x": RANDOM.normal(size=N),
        "kind": [f"k{index % 4}" for index in range(N)],
        "day": [f"2024-01-{1 + index % 28:02d}" for index in range(N)],
        "y": ["yes", "no"] * (N // 2),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pl.DataFrame(_columns()).write_csv(tmp_path / "train.csv")
    pl.DataFrame(_columns()).write_csv(tmp_path / "test.csv")
    return tmp_path


def _refused(error: type[NormwiseError], message: str, source: Path, **options: Any) -> None:
    with pytest.raises(error, match=message) as caught:
        load(str(source), **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, DataError, "a table needs the name of the column to predict"),
        (
            {"target": "Y "},
            UnknownNameError,
            r"unknown target column of .* 'Y '. Did you mean 'y'\? Known: day, kind, x, y",
        ),
        (
            {"target": "y", "drop": ["knd"]},
            UnknownNameError,
            "unknown column to drop of .* Did you mean 'kind'",
        ),
        ({"target": "y", "drop": ["y"]}, ArgumentError, "the target cannot be dropped. Got --drop y"),
        (
            {"target": "y", "drop": ["x", "kind", "day"]},
            DataError,
            "an input column beside the target. Got none",
        ),
        ({"target": "y", "group": "kin"}, UnknownNameError, "unknown group column of .* Did you mean 'kind'"),
        ({"target": "y", "group": "y"}, ArgumentError, "`group` must be another column than the target"),
        ({"target": "y", "time": "y"}, ArgumentError, "`time` must be another column than the target"),
        ({"target": "y", "time": "date"}, UnknownNameError, "unknown time column"),
        ({"target": "y", "time": "kind"}, DataError, "'kind' must hold dates, times or numbers. Got 'k0'"),
        ({"target": "y", "time": "day", "group": "kind"}, ArgumentError, "by group or by time, not by both"),
        ({"target": "kind", "group": "y"}, DataError, "'y' must have at least three groups.* Got 2 groups"),
        (
            {"target": "y", "task": "regression"},
            DataError,
            "must be numbers for task='regression'. Got words such as",
        ),
        (
            {"target": "x", "task": "classification"},
            DataError,
            "'x' must have several rows a class. Got 40 distinct",
        ),
        ({"target": "y", "task": "classify"}, UnknownNameError, "Did you mean 'classification'"),
        ({"target": "y", "image_size": 3}, ArgumentError, "is no folder of images"),
    ],
)
def test_requests(folder: Path, options: dict[str, Any], error: type[NormwiseError], message: str) -> None:
    _refused(error, message, folder / "train.csv", **options)


def _csv(name: str, change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        columns = _columns()
        change(columns)
        pl.DataFrame(columns, strict=False).write_csv(folder / name)

    return write


@pytest.mark.parametrize(
    ("write", "test", "options", "error", "message"),
    [
        (None, "absent.csv", {}, DataError, "absent.csv must exist. Got nothing there"),
        (None, "train.csv", {}, ArgumentError, "another file than the table. Got .* twice"),
        (None, ".", {}, DataError, "the test data of a table must be a table ending in .* Got a folder"),
        (None, "test.npz", {}, DataError, "must be a table ending in .* Got 'test.npz'"),
        (
            _csv("test.csv", lambda c: c.pop("y")),
            "test.csv",
            {},
            DataError,
            "target included. Got test.csv without 'y'",
        ),
        (
            _csv("test.csv", lambda c: c.update(w=c["x"])),
            "test.csv",
            {},
            DataError,
            "Got test.csv and also 'w'",
        ),
        (
            _csv("test.csv", lambda c: c.update(y=[""] * N)),
            "test.csv",
            {},
            DataError,
            "Got none in 40 rows. hint: give a",
        ),
        (
            _csv("test.csv", lambda c: c.update(y=["maybe"] * N)),
            "test.csv",
            {},
            DataError,
            "must have training rows. Got none for the class 'maybe'",
        ),
        (None, "test.csv", {"group": "kind"}, DataError, "not in both. Got 4 groups in both: 'k0', 'k1'"),
        (
            lambda folder: (folder / "test.csv").write_text(""),
            "test.csv",
            {},
            DataError,
            "must hold data. Got an empty file",
        ),
    ],
)
def test_test_tables(
    folder: Path,
    write: Callable[[Path], object] | None,
    test: str,
    options: dict[str, Any],
    error: type[NormwiseError],
    message: str,
) -> None:
    np.savez(folder / "test.npz", x=np.zeros(3))
    if write is not None:
        write(folder)
    _refused(error, message, folder / "train.csv", target="y", test_data=str(folder / test), **options)


def test_a_test_table_of_other_types(folder: Path) -> None:
    pl.DataFrame(_columns()).write_parquet(folder / "train.parquet")
    pl.DataFrame({**_columns(), "x": [[1]] * N}).write_parquet(folder / "test.parquet")
    message = "must be of one type. Got 'x' of type Float64 and List"
    _refused(DataError, message, folder / "train.parquet", target="y", test_data=str(folder / "test.parquet"))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"", "must hold data. Got an empty file"),
        ("a.csv", b"x,y\n", "rows below its header. Got the header alone"),
        ("a.csv", b"x,y\n1,a\n2,b\n3,a\n", "a must have at least 10 usable rows. Got 3 rows"),
        ("a.csv", b"x,x,y\n" + b"1,2,a\n" * 20, "Got 'x' more than once. hint: rename"),
        ("a.csv", b"1,2,3\n" + b"4,5,6\n" * 20, "Got only numbers .* hint: add a header line"),
        (
            "a.csv",
            b"x,y\n" + b"1,a\n1\n" * 20,
            r"as many fields as the header \(2\). Got 1 field in line 3, and 19 more",
        ),
        (
            "a.csv",
            b"x y\n" + b"1 a\n2 b\n" * 20,
            "separated by commas, semicolons, tabs or bars. Got one column 'x y'",
        ),
        (
            "a.csv",
            b"made in May\nx,y\n" + b"1,a\n" * 20,
            "header must be the first line; remove what stands above",
        ),
        ("a.csv", b'x,y\n"1,a\n' * 20, "well-formed CSV file"),
        ("a.csv", b"x,y\n\xff\xfe\xfd,a\n" * 20, "must be text in UTF-8. Got byte 0xff at position 4"),
        ("a.csv", b"x,y\n" + b"1,\n" * 20, "'y' must have values. Got none in 20 rows"),
        ("a.csv", b"x,y\n" + b"1,a\n2,a\n" * 10, "'y' must take at least two values. Got 'a' in every row"),
        (
            "a.csv",
            b"x,y\n" + b"inf,a\n2,b\n" * 10,
            "column 'x' must hold finite numbers .* first inf in row 1",
        ),
        ("a.csv", b"x,y\n" + b"2,a\n2,b\n" * 10, r"an input column .* Got none \(dropped as constant: 'x'\)"),
        (
            "a.csv",
            b"id,y\n" + b"".join(b"%d,%c\n" % (i, 97 + i % 2) for i in range(20)),
            "only count the rows: 'id'",
        ),
        (
            "a.csv",
            b"x,y\n" + b"".join(b"%d,w%d\n" % (i % 7, i) for i in range(30)),
            "'y' must have several rows a class",
        ),
        (
            "a.csv",
            b"x,y\n" + b"".join(b"1,%d.5\n" % i for i in range(30)) + b"1,oops\n2,what\n",
            "Got 2 values of 32 that are none, such as 'oops'",
        ),
        ("a.csv.gz", b"x,y\n1,2\n", "must be a gzip file"),
        ("a.xlsx", b"PK", "hint: export the sheet as CSV"),
        ("a.zip", b"PK", "hint: unpack it first"),
        ("a.csv.zip", b"PK", "hint: unpack it first"),
        ("a.parquet", b"PAR1", "must be a Parquet file"),
        ("a.doc", b"x", "must be a folder or end in"),
    ],
)
def test_files(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    _refused(DataError, message, tmp_path / name, target="y")


def test_identifiers_are_no_targets(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).permutation(1000)[:30]
    pl.DataFrame({"x": RANDOM.normal(size=30), "order_id": numbers}).write_csv(tmp_path / "a.csv")
    _refused(
        DataError,
        "'order_id' must be a quantity or a class.* looks like an identifier",
        tmp_path / "a.csv",
        target="order_id",
    )


def test_unknown_names_among_hundreds_of_columns_stay_short(tmp_path: Path) -> None:
    pl.DataFrame({f"column {index}": [1] for index in range(300)}).write_csv(tmp_path / "a.csv")
    with pytest.raises(UnknownNameError, match="and 280 more") as caught:
        load(str(tmp_path / "a.csv"), target="colum 7")
    assert "Did you mean 'column 7'" in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("option", ["group", "time", "test_data"])
@pytest.mark.parametrize("source", ["wine", "digits", "array", "images"])
def test_parts_of_columns_are_for_tables(tmp_path: Path, source: str, option: str) -> None:
    np.savez(tmp_path / "a.npz", x=RANDOM.normal(size=(20, 3)), y=np.arange(20) % 2)
    (tmp_path / "images").mkdir()
    where = {"array": str(tmp_path / "a.npz"), "images": str(tmp_path / "images")}.get(source, source)
    with pytest.raises(ArgumentError, match=f"{option}='x'") as caught:
        load(where, **{option: "x"})
    assert "\n" not in str(caught.value)


def test_dropping_where_there_are_no_columns(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="digits has images, no columns"):
        load("digits", drop=["pixel"])
    with pytest.raises(UnknownNameError, match="Did you mean 'alcohol'"):
        load("wine", drop=["alcool"])
