"""A table as it lies in its file, and a second one with test rows below it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from normwise._optional import require
from normwise.data.csv_file import read_csv
from normwise.data.numerals import writes_decimal_commas
from normwise.data.wording import listing
from normwise.errors import DataError, explain

if TYPE_CHECKING:
    import polars

TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
SUFFIXES = (*TEXT_SUFFIXES, ".parquet")


@dataclass(frozen=True, eq=False)
class Source:
    """The rows of a table, words not yet given a type, with those of `test` below the others.

    Attributes:
        path: of the table.
        frame: its columns.
        comma: whether numbers are written with a decimal comma.
        test: the table of test rows, if there is one.
        own: how many rows are not from there.
        notes: how the file was read.
    """

    path: Path
    frame: polars.DataFrame
    comma: bool
    notes: tuple[str, ...]
    test: Path | None = None
    own: int = 0


def read_source(path: Path, test: Path | None) -> Source:
    """Read a table and, if it is given, a table of test rows with the same columns.

    Raises:
        DataError: a file that cannot be read, or columns that differ.
    """
    source = _read(path)
    if test is None:
        return source
    second = _read(test)
    columns, others = source.frame.columns, second.frame.columns
    for words, names in (("without", set(columns) - set(others)), ("and also", set(others) - set(columns))):
        if names:
            got = f"{test.name} {words} {listing(sorted(names))}"
            must = f"the test table must have the columns of {path}, target included"
            raise DataError(explain("load", must, got, "write both tables with the same columns"))
    pl = require("polars", extra="compare", who="reading a table")
    try:
        # `vertical_relaxed` lets whole numbers and fractions meet.
        frame = pl.concat([source.frame, second.frame.select(columns)], how="vertical_relaxed", rechunk=False)
    except pl.exceptions.PolarsError as error:
        kinds = zip(columns, source.frame.dtypes, second.frame.select(columns).dtypes, strict=True)
        got = next(
            (f"{name!r} of type {a} and {b}" for name, a, b in kinds if a != b), str(error).splitlines()[0]
        )
        must = f"columns of {path} and {test} must be of one type"
        raise DataError(explain("load", must, got, "write both tables in the same way")) from error
    notes = (*source.notes, *(f"{test.name}: {note}" for note in second.notes))
    return Source(path, frame, source.comma or second.comma, notes, test, source.frame.height)


def base_name(path: Path) -> str:
    """A table's name without its endings.

    >>> base_name(Path("data/train.csv.gz")), base_name(Path("v1.2.csv"))
    ('train', 'v1.2')
    """
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).stem


def suffix(path: Path) -> str:
    """A path's ending in lower case, with what is before .gz.

    >>> suffix(Path("train.CSV.gz")), suffix(Path("v1.2.csv"))
    ('.csv.gz', '.csv')
    """
    ending = path.suffix.lower()
    return "".join(path.suffixes[-2:]).lower() if ending == ".gz" else ending


@dataclass(frozen=True, eq=False)
class RowNamer:
    """Names a row by its number in its file, counting from 1.

    Attributes:
        source: where the rows come from.
        rows: which of its rows are left.
    """

    source: Source
    rows: npt.NDArray[np.int64]

    def __call__(self, index: int) -> str:
        """The name of a row, such as "row 7" or "row 7 of test.csv"."""
        row = int(self.rows[index])
        if self.source.test is None or row < self.source.own:
            return f"row {row + 1:,}"
        return f"row {row - self.source.own + 1:,} of {self.source.test.name}"


def _read(path: Path) -> Source:
    if suffix(path) == ".parquet":
        frame = _read_parquet(path)
        return Source(path, frame, False, (), own=frame.height)
    frame, separator, notes = read_csv(path)
    # Among commas a comma inside of a number groups its digits, unless nothing else is possible.
    comma = separator in ";\t" and any(writes_decimal_commas(series) for series in frame.get_columns())
    return Source(path, frame, comma, notes, own=frame.height)


def _read_parquet(path: Path) -> polars.DataFrame:
    pl = require("polars", extra="compare", who="reading a Parquet file")
    try:
        frame: polars.DataFrame = pl.read_parquet(path.read_bytes())
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        got = str(error).splitlines()[0]
        raise DataError(
            explain("load", f"{path} must be a Parquet file", got, "write the file again")
        ) from error
    if frame.height == 0:
        raise DataError(explain("load", f"{path} must have rows", "an empty table"))
    return frame
