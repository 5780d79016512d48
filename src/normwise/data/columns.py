"""Columns of a polars frame: numbers, categories, or nothing a network can use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from normwise._optional import require
from normwise.data.contents import Categorical, TableContents
from normwise.data.task import LARGEST
from normwise.data.wording import count, listing, natural_key
from normwise.errors import DataError, explain

if TYPE_CHECKING:
    import polars

_MISSING = ("", "na", "n/a", "nan", "null", "?")
_MISSING_AMONG_NUMBERS = (*_MISSING, "none", "-", ".")
_DATE = r"^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?Z?)?$"
_COUNTERS = ("", "id", "index", "row", "rownumber", "row_number", "column 1")
_MICROSECONDS_A_DAY = 86_400_000_000


def _polars() -> Any:
    return require("polars", extra="compare", who="reading a table")


def typed(series: polars.Series) -> polars.Series:
    """Give a column of CSV words its type: numbers (Float64), booleans, dates, or words stripped of blanks.

    Empty fields, NA, N/A, NaN, null and ? are missing; in a column of numbers also none, - and a lone dot.
    """
    pl = _polars()
    words = series.str.strip_chars()
    words = words.set(words.str.to_lowercase().is_in(_MISSING), None)
    lower = words.str.to_lowercase()
    present = lower.drop_nulls()
    if not len(present):
        return words
    # "nan" is gone from `words` by now, so a number that fails to parse is the only new null.
    numbers = words.cast(pl.Float64, strict=False)
    failed = lower.filter(numbers.is_null() & words.is_not_null())
    if len(failed) < len(present) and failed.is_in(_MISSING_AMONG_NUMBERS).all():
        return numbers
    if present.is_in(("true", "false")).all():
        return lower == "true"
    if words.drop_nulls().str.contains(_DATE).all():
        dates = words.str.strip_suffix("Z").str.to_datetime(strict=False)
        if dates.null_count() == words.null_count():
            return dates
    return words


def to_contents(
    frame: polars.DataFrame, *, row_numbers: npt.NDArray[np.int64]
) -> tuple[TableContents, tuple[str, ...]]:
    """Sort typed columns into numeric and categorical ones; note what was left out and why.

    `row_numbers` are what messages call the rows of the frame.

    Raises:
        DataError: an infinite number, or no usable column.
    """
    names: list[str] = []
    numeric: list[npt.NDArray[np.float64]] = []
    categorical: list[Categorical] = []
    notes: list[str] = []
    empty = [s.name for s in frame.get_columns() if _all_missing(s)]
    if empty:
        notes.append(f"{count(len(empty), 'column')} without any value dropped: {listing(empty)}")
    for series in frame.get_columns():
        if series.name in empty:
            continue
        if _is_date(series):
            notes.append(f"{series.name!r} read as days since 1970-01-01")
        values = numbers_of(series)
        if values is not None:
            _check_finite(series.name, values, row_numbers)
            if _is_counter(series.name, values):
                notes.append(f"{series.name!r} dropped: it only counts the rows")
                continue
            names.append(series.name)
            numeric.append(values)
            continue
        words = words_of(series)
        if words is None:
            notes.append(f"{series.name!r} dropped: a column of type {series.dtype} has no meaning here")
            continue
        strangers = _strangers_among_numbers(words)
        if strangers:
            notes.append(f"{series.name!r} read as words: {strangers}")
        column = _categories(series.name, words)
        if column is None:
            present = words.drop_nulls()
            notes.append(
                f"{series.name!r} dropped: "
                f"{present.n_unique():,} different words in {count(len(present), 'value')} "
                f"(such as {present[0]!r}) look like an identifier or free text"
            )
            continue
        categorical.append(column)
    if not names and not categorical:
        raise DataError(
            explain(
                "load",
                "the table must have an input column beside the target",
                "; ".join(notes) or "the target column alone",
                "add columns to predict from",
            )
        )
    block = np.stack(numeric, axis=1) if numeric else np.empty((frame.height, 0))
    return TableContents(tuple(names), block, tuple(categorical)), tuple(notes)


def numbers_of(series: polars.Series) -> npt.NDArray[np.float64] | None:
    """The column as float64 with NaN where missing; None if it holds no numbers, booleans or times."""
    pl = _polars()
    dtype = series.dtype
    if _is_date(series):
        days = series.cast(pl.Datetime("us")).cast(pl.Int64).cast(pl.Float64) / _MICROSECONDS_A_DAY
        return _as_floats(days)
    if dtype in (pl.Duration, pl.Time):
        return _as_floats(series.cast(pl.Int64))
    if dtype.is_numeric() or dtype == pl.Boolean:
        return _as_floats(series)
    return None


def words_of(series: polars.Series) -> polars.Series | None:
    """The column as words with null where missing, or None if it holds no words."""
    pl = _polars()
    if series.dtype in (pl.String, pl.Categorical, pl.Enum):
        return series.cast(pl.String)
    return None


def _as_floats(series: polars.Series) -> npt.NDArray[np.float64]:
    values: npt.NDArray[np.float64] = series.cast(_polars().Float64).fill_null(float("nan")).to_numpy()
    return values


def _is_date(series: polars.Series) -> bool:
    pl = _polars()
    return bool(series.dtype in (pl.Date, pl.Datetime))


def _all_missing(series: polars.Series) -> bool:
    if series.null_count() == len(series):
        return True
    return series.dtype.is_float() and bool((series.is_null() | series.is_nan().fill_null(True)).all())


def _strangers_among_numbers(words: polars.Series) -> str:
    """Say what keeps a column that is mostly numbers from being numeric; nothing about other columns."""
    present = words.drop_nulls()
    strangers = present.filter(present.cast(_polars().Float64, strict=False).is_null())
    if not 0 < len(strangers) < len(present) / 2:
        return ""
    verb = "is no number" if len(strangers) == 1 else "are no numbers"
    return f"{len(strangers):,} of its {count(len(present), 'value')} {verb} (such as {strangers[0]!r})"


def _categories(name: str, words: polars.Series) -> Categorical | None:
    """Encode words, or return None if more than half of them (and more than 20) are different."""
    present = words.drop_nulls()
    distinct = present.unique().to_list()
    if len(distinct) > max(20, len(present) // 2):
        return None
    categories = tuple(sorted(distinct, key=natural_key))
    index = {word: code for code, word in enumerate(categories)}
    codes = words.replace_strict(index, default=-1, return_dtype=_polars().Int64)
    return Categorical(name, codes.to_numpy().astype(np.int64), categories)


def _is_counter(name: str, values: npt.NDArray[np.float64]) -> bool:
    label = name.strip().lower().replace(" ", "")
    named = label in _COUNTERS or name.strip().lower() in _COUNTERS or name.endswith(("_id", "Id", "ID"))
    return named and len(values) > 1 and bool(np.all(np.diff(values) == 1))


def _check_finite(name: str, values: npt.NDArray[np.float64], row_numbers: npt.NDArray[np.int64]) -> None:
    with np.errstate(invalid="ignore"):
        bad = np.abs(values) > LARGEST
    if bad.any():
        first = int(np.argmax(bad))
        raise DataError(
            explain(
                "load",
                f"column {name!r} must hold finite numbers within ±{LARGEST:g}, or nothing",
                f"{count(int(bad.sum()), 'other value')}, first {values[first]} in row {row_numbers[first]}",
                "leave the field empty if the value is missing, or remove the row",
            )
        )
