"""Typed columns of a table as contents: numbers, categories, or nothing a network can use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from normwise._optional import require
from normwise.data.contents import Categorical, TableContents
from normwise.data.dates import days_of_integers, turns
from normwise.data.identifiers import kind_of_numbers, kind_of_words
from normwise.data.missing_codes import code_for_missing
from normwise.data.remarks import Remarks
from normwise.data.task import LARGEST
from normwise.data.wording import count, natural_key
from normwise.errors import DataError, explain

if TYPE_CHECKING:
    import polars

MOST_KEPT = 1000
"""Of more categories in a column the most frequent are kept, and the rest is one more category."""

OTHER = "(other)"

_MICROSECONDS_A_DAY = 86_400_000_000
_NANOSECONDS_AN_HOUR = 3_600_000_000_000

_Floats = npt.NDArray[np.float64]


def to_contents(
    columns: Sequence[polars.Series],
    remarks: Remarks,
    *,
    row_name: Callable[[int], str],
    time: str | None = None,
) -> TableContents:
    """Sort typed columns into numeric and categorical ones; remark on what was left out and why.

    A date becomes days since 1970 and, as its range allows, sines and cosines of month, weekday and hour.

    Args:
        columns: all of one length.
        remarks: gets what is worth a note.
        row_name: what messages call a row, such as "row 7".
        time: the column that orders the rows; of it only the cycles are inputs.

    Raises:
        DataError: an infinite number, or no usable column.
    """
    numeric: dict[str, _Floats] = {}
    categorical: list[Categorical] = []
    rows = len(columns[0]) if columns else 0
    for series in columns:
        name = series.name
        if _all_missing(series):
            remarks.add("empty", name)
            continue
        values = numbers_of(series)
        if values is not None:
            _check_finite(name, values, row_name)
            found = _expanded(series, values, time == name, remarks)
            numeric.update((key, part) for key, part in found.items())
            continue
        words = words_of(series)
        if words is None:
            remarks.add("type", name, str(series.dtype))
            continue
        column = _categories(name, words, remarks)
        if column is not None:
            categorical.append(column)
    if not numeric and not categorical:
        raise DataError(
            explain(
                "load",
                "the table must have an input column beside the target",
                f"none ({'; '.join(remarks.sentences())})" if remarks.sentences() else "none",
                "add columns to predict from",
            )
        )
    block = np.empty((rows, len(numeric)))
    names = tuple(numeric)
    for index, name in enumerate(names):
        # Emptied on the way, so that the columns and the block are never in memory together.
        block[:, index] = numeric.pop(name)
    return TableContents(names, block, tuple(categorical))


def numbers_of(series: polars.Series) -> _Floats | None:
    """The column as float64 with NaN where missing; None if it holds no numbers, booleans or times.

    Dates are days since 1970-01-01, times of day and durations hours.
    """
    pl = _polars()
    dtype = series.dtype
    if is_date(series):
        return _as_floats(
            series.cast(pl.Datetime("us")).cast(pl.Int64).cast(pl.Float64) / _MICROSECONDS_A_DAY
        )
    if dtype == pl.Time:
        return _as_floats(series.cast(pl.Int64).cast(pl.Float64) / _NANOSECONDS_AN_HOUR)
    if dtype == pl.Duration:
        return _as_floats(
            series.cast(pl.Duration("ns")).cast(pl.Int64).cast(pl.Float64) / _NANOSECONDS_AN_HOUR
        )
    if dtype.is_numeric() or dtype == pl.Boolean:
        return _as_floats(series)
    return None


def words_of(series: polars.Series) -> polars.Series | None:
    """The column as words with null where missing, or None if it holds no words."""
    pl = _polars()
    if series.dtype in (pl.String, pl.Categorical, pl.Enum):
        return series.cast(pl.String)
    return None


def is_date(series: polars.Series) -> bool:
    """Whether the column holds dates."""
    pl = _polars()
    return bool(series.dtype in (pl.Date, pl.Datetime))


def _as_floats(series: polars.Series) -> _Floats:
    values: _Floats = series.cast(_polars().Float64).fill_null(float("nan")).to_numpy()
    return values


def _all_missing(series: polars.Series) -> bool:
    if series.null_count() == len(series):
        return True
    return series.dtype.is_float() and bool((series.is_null() | series.is_nan().fill_null(True)).all())


def _expanded(series: polars.Series, values: _Floats, is_time: bool, remarks: Remarks) -> dict[str, _Floats]:
    """The inputs that a column of numbers becomes: itself, a date's days and cycles, or nothing."""
    pl = _polars()
    name = series.name
    if np.nanmin(values) == np.nanmax(values) and not np.isnan(values).any():
        remarks.add("constant", name)
        return {}
    days = values if is_date(series) else days_of_integers(values) if _may_be_date(name) else None
    if days is not None:
        found = turns(days)
        if not is_time:
            remarks.add("date", name, ", ".join(found) + " beside it" if found else "")
            return {name: days, **_circles(name, found)}
        remarks.add(*(("time", name, ", ".join(found)) if found else ("only time", name)))
        return _circles(name, found)
    if is_time:
        remarks.add("only time", name)
        return {}
    if series.dtype == pl.Time:
        remarks.add("clock", name)
        return {name: values, **_circles(name, {"hour": values / 24})}
    kind = kind_of_numbers(name, values) if series.dtype != pl.Boolean else None
    if kind is not None:
        remarks.add(kind[0], name, kind[1])
        return {}
    code = code_for_missing(values)
    if code is not None:
        rows = int((values == code).sum())
        remarks.add("code", name, f"{code:g} in {count(rows, 'row')}")
    return {name: values}


def _may_be_date(name: str) -> bool:
    return any(part in name.lower() for part in ("date", "day", "datum", "fecha", "time", "日期", "时间"))


def _circles(name: str, found: dict[str, _Floats]) -> dict[str, _Floats]:
    circles = {}
    for key, turn in found.items():
        circles[f"{name} ({key}, sine)"] = np.sin(2 * np.pi * turn)
        circles[f"{name} ({key}, cosine)"] = np.cos(2 * np.pi * turn)
    return circles


def _categories(name: str, words: polars.Series, remarks: Remarks) -> Categorical | None:
    """Encode words, or remark why they are of no use and return None."""
    present = words.drop_nulls()
    counts = present.alias("word").value_counts(name="count")
    distinct = counts.height
    if distinct == 1 and len(present) == len(words):
        remarks.add("constant", name)
        return None
    kind = kind_of_words(name, present, distinct)
    if kind is not None:
        remarks.add(kind[0], name, kind[1])
        remarks.forget("strangers", name)
        return None
    if distinct > MOST_KEPT:
        # Ties at the edge go by the word, so that no order of rows or sort decides.
        counts = counts.sort(["count", "word"], descending=[True, False]).head(MOST_KEPT)
    categories = tuple(sorted(counts["word"].to_list(), key=natural_key))
    index = {word: code for code, word in enumerate(categories)}
    other = len(categories) if distinct > MOST_KEPT else -1
    codes = words.replace_strict(index, default=other, return_dtype=_polars().Int64)
    if other > 0:
        codes = codes.set(words.is_null(), -1)
        categories = (*categories, OTHER)
    return Categorical(name, codes.fill_null(-1).to_numpy().astype(np.int64), categories)


def _check_finite(name: str, values: _Floats, row_name: Callable[[int], str]) -> None:
    with np.errstate(invalid="ignore"):
        bad = np.abs(values) > LARGEST
    if bad.any():
        first = int(np.argmax(bad))
        raise DataError(
            explain(
                "load",
                f"column {name!r} must hold finite numbers within ±{LARGEST:g}, or nothing",
                f"{count(int(bad.sum()), 'other value')}, first {values[first]} in {row_name(first)}",
                "leave the field empty if the value is missing, or remove the row",
            )
        )


def _polars() -> Any:
    return require("polars", extra="compare", who="reading a table")
