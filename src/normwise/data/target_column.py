"""The column of a table that is to be predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from normwise._optional import require
from normwise.data.columns import is_date, numbers_of, words_of
from normwise.data.identifiers import kind_of_numbers
from normwise.data.remarks import Remarks
from normwise.data.source import RowNamer
from normwise.data.task import FEW, Target, Task, read_target
from normwise.data.wording import count
from normwise.errors import DataError, explain

if TYPE_CHECKING:
    import polars

FAR = 10
"""Targets so many interquartile ranges from the median are worth a note."""


def missing(series: polars.Series) -> npt.NDArray[np.bool_]:
    """(N,) where a column has no value."""
    gaps = series.is_null()
    if series.dtype.is_float():
        gaps = gaps | series.is_nan().fill_null(True)
    found: npt.NDArray[np.bool_] = gaps.to_numpy()
    return found


def read_target_column(
    series: polars.Series, *, task: Task | None, row_name: RowNamer, remarks: Remarks
) -> Target:
    """Decide what the column asks for; `series` is typed and has a value in every row.

    Raises:
        DataError: a type that cannot be predicted, an identifier, words among numbers, and see `read_target`.
    """
    name = series.name
    if series.dtype == require("polars", extra="compare", who="reading a table").Boolean:
        return read_target(name, series.to_numpy().astype(np.bool_), task=task, row_name=row_name)
    numbers = numbers_of(series)
    if numbers is not None:
        kind = kind_of_numbers(name, numbers)
        if kind is not None and kind[0] in ("counter", "identifier"):
            got = kind[1] or "numbers that only count the rows"
            must = f"the target {name!r} must be a quantity or a class"
            hint = "it looks like an identifier; choose another column"
            raise DataError(explain("load", must, got, hint))
        if is_date(series):
            remarks.add("date", name)
        return read_target(name, numbers, task=task, row_name=row_name)
    words = words_of(series)
    if words is None:
        raise DataError(
            explain(
                "load",
                f"the target column {name!r} must hold numbers, words or booleans",
                f"type {series.dtype}",
                "choose another column",
            )
        )
    _check_strangers(words, task)
    return read_target(name, np.array(words.to_list(), dtype=np.str_), task=task, row_name=row_name)


def extremes(target: Target) -> str:
    """A note on a quantity with values far from all others; empty if there are none."""
    if target.task != "regression":
        return ""
    low, middle, high = np.percentile(target.values, (25, 50, 75))
    far = np.abs(target.values - middle) > FAR * (high - low)
    if high <= low or not far.any():
        return ""
    return (
        f"{count(int(far.sum()), 'value')} of the target {target.name!r} "
        f"{'lies' if far.sum() == 1 else 'lie'} more than {FAR} interquartile ranges from the median "
        f"(all run from {_shown(target.values.min())} to {_shown(target.values.max())}); "
        f"such rows weigh most in squared errors"
    )


def counter(target: Target) -> str:
    """A warning of a quantity that counts the rows, as an index without a telling name does; empty for others."""
    if target.task != "regression" or not np.all(np.diff(target.values) == 1):
        return ""
    first, last = _shown(target.values[0]), _shown(target.values[-1])
    return (
        f"the target {target.name!r} only counts the rows, {first} to {last}: choose another column, "
        f"unless their order is to be predicted"
    )


def _shown(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 1000 or number == round(number) else f"{number:.4g}"


def _check_strangers(words: polars.Series, task: Task | None) -> None:
    """Refuse a column of numbers that a few words keep from being one."""
    pl = require("polars", extra="compare", who="reading a table")
    strangers = words.filter(words.cast(pl.Float64, strict=False).is_null())
    many = words.n_unique() > max(FEW, len(words) // 2)
    if 2 * len(strangers) < len(words) and (many or task == "regression"):
        got = f"{count(len(strangers), 'value')} of {len(words):,} that {'is' if len(strangers) == 1 else 'are'} none"
        raise DataError(
            explain(
                "load",
                f"the target {words.name!r} must be numbers throughout",
                f"{got}, such as {strangers[0]!r}",
                "correct these values, or leave them empty to drop their rows",
            )
        )
