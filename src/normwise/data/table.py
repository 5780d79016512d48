"""Tables with a target column: CSV, TSV and Parquet files."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from normwise._optional import require
from normwise.data.columns import numbers_of, to_contents, words_of
from normwise.data.csv_file import read_csv
from normwise.data.dataset import Dataset, assemble
from normwise.data.task import Task, read_target
from normwise.data.wording import count, listing
from normwise.errors import DataError, explain, unknown_name

if TYPE_CHECKING:
    import polars

SUFFIXES = (".csv", ".tsv", ".parquet")

_LIKELY_TARGETS = ("target", "label", "y", "class", "labels", "outcome")


def load_table(path: Path, *, target: str | None, task: Task | None) -> Dataset:
    """Read a table; `target` is the column to predict, every other column is an input.

    Raises:
        DataError: no target given, unreadable file, a target that is missing everywhere or constant, no other
            column.
        UnknownNameError: the table has no column called `target`.
    """
    frame, notes = (read_parquet if path.suffix.lower() == ".parquet" else read_csv)(path)
    column = _choose(path, frame.columns, target)
    series = frame[column]
    missing = _missing(series)
    gone = int(missing.sum())
    if gone == len(series):
        raise DataError(
            explain("load", f"the target column {column!r} must have values", f"none in {count(gone, 'row')}")
        )
    # Messages name rows of the file, not of what is left of it.
    numbers = np.flatnonzero(~missing.to_numpy()) + 1
    if gone:
        frame = frame.filter(~missing)
        notes += (f"{count(gone, 'row')} without a value of the target {column!r} dropped",)
    decided = read_target(column, _target_values(frame[column]), task=task, row_numbers=numbers)
    contents, found = to_contents(frame.drop(column), row_numbers=numbers)
    return assemble(
        name=path.stem,
        source=str(path),
        kind="table",
        contents=contents,
        target=decided,
        notes=notes + found,
    )


def read_parquet(path: Path) -> tuple[polars.DataFrame, tuple[str, ...]]:
    """Read a Parquet file, whose columns bring their types."""
    pl = require("polars", extra="compare", who="reading a Parquet file")
    try:
        frame: polars.DataFrame = pl.read_parquet(path.read_bytes())
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise DataError(
            explain(
                "load", f"{path} must be a Parquet file", str(error).splitlines()[0], "write the file again"
            )
        ) from error
    if frame.height == 0:
        raise DataError(explain("load", f"{path} must have rows", "an empty table"))
    return frame, ()


def _choose(path: Path, columns: list[str], target: str | None) -> str:
    if target is None:
        lowered = {name.lower(): name for name in reversed(columns)}
        guess = next((lowered[name] for name in _LIKELY_TARGETS if name in lowered), columns[-1])
        command = f"normwise compare {shlex.quote(str(path))} --target {shlex.quote(guess)}"
        raise DataError(
            explain(
                "load",
                f"a table needs the name of the column to predict; {path} has {listing(columns, limit=30)}",
                "no target",
                f"for example {command}",
            )
        )
    if target not in columns:
        raise unknown_name("load", f"target column of {path}", target, columns)
    return target


def _missing(series: polars.Series) -> polars.Series:
    missing = series.is_null()
    return missing | series.is_nan().fill_null(True) if series.dtype.is_float() else missing


def _target_values(series: polars.Series) -> npt.NDArray[np.generic]:
    if series.dtype == require("polars", extra="compare", who="reading a table").Boolean:
        values: npt.NDArray[np.generic] = series.to_numpy().astype(np.bool_)
        return values
    numbers = numbers_of(series)
    if numbers is not None:
        return numbers
    words = words_of(series)
    if words is None:
        raise DataError(
            explain(
                "load",
                f"the target column {series.name!r} must hold numbers, words or booleans",
                f"type {series.dtype}",
                "choose another column",
            )
        )
    return np.array(words.to_list(), dtype=np.str_)
