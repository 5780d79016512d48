"""Tables with a target column: text tables and Parquet files, as they are found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from normwise._optional import require
from normwise.data.arrange import Key, arrange
from normwise.data.columns import is_date, numbers_of, to_contents
from normwise.data.dataset import Dataset, assemble, check_rows
from normwise.data.remarks import Remarks
from normwise.data.roles import Roles, find_roles
from normwise.data.source import RowNamer, Source, base_name, read_source
from normwise.data.target_column import counter, extremes, missing, read_target_column
from normwise.data.task import Task
from normwise.data.wording import count
from normwise.data.words import stripped, typed
from normwise.errors import DataError, explain

if TYPE_CHECKING:
    import polars

_Mask = npt.NDArray[np.bool_]


def load_table(
    path: Path,
    *,
    target: str | None,
    task: Task | None,
    drop: Iterable[str] = (),
    group: str | None = None,
    time: str | None = None,
    test_data: Path | None = None,
) -> Dataset:
    """Read a table; `target` is the column to predict, every other column is an input unless it has a part.

    Rows without a target (or a time, where one is asked for) are dropped and counted. Notes tell first which
    rows are left and how they are split, then what became of columns, then how the file was read.

    Args:
        path: of the table.
        target: name of the column to predict.
        task: the task asked for, if any.
        drop: columns to leave out.
        group: column whose rows stay in one part.
        time: column that orders the rows: the oldest train, the newest test.
        test_data: table of the rows to test on.

    Raises:
        DataError: an unreadable file, too few rows, a target that is missing everywhere, constant or an
            identifier, no input column, groups or times that cannot be dealt.
        UnknownNameError: no column of that name.
        ArgumentError: parts that contradict each other.
    """
    source = read_source(path, test_data)
    roles = find_roles(path, source.frame.columns, target=target, drop=drop, group=group, time=time)
    reading = _Reading(source)
    aim = reading.column(roles.target, booleans=False)
    clock = None if roles.time is None else _checked_time(reading.column(roles.time))
    rows = _usable(source, roles, aim, clock)
    check_rows(base_name(path), len(rows.numbers))
    row_name = RowNamer(source, rows.numbers)
    decided = read_target_column(rows.of(aim), task=task, row_name=row_name, remarks=reading.remarks)
    keys = {
        "group": None if roles.group is None else _group_key(rows.of(source.frame[roles.group])),
        "time": None if clock is None else Key(clock.name, _times(rows.of(clock))),
    }
    apart = (roles.target, roles.group, *roles.drop)
    inputs = [name for name in source.frame.columns if name not in apart]
    contents = to_contents(
        [
            rows.of(clock if name == roles.time and clock is not None else reading.column(name))
            for name in inputs
        ],
        reading.remarks,
        row_name=row_name,
        time=roles.time,
    )
    own = None if test_data is None else int((rows.numbers < source.own).sum())
    plan = arrange(contents, decided, **keys, test=test_data, own=own)
    found = (*rows.notes, *plan.notes, extremes(decided), *reading.remarks.sentences(), *source.notes)
    return assemble(
        name=base_name(path),
        source=str(path),
        kind="table",
        contents=contents,
        target=decided,
        notes=tuple(note for note in found if note),
        warnings=tuple(warning for warning in (counter(decided), *plan.warnings) if warning),
        fixed=plan.fixed,
        groups=plan.groups,
        order=plan.order,
    )


@dataclass(frozen=True)
class _Reading:
    source: Source
    remarks: Remarks = field(default_factory=Remarks)

    def column(self, name: str, *, booleans: bool = True) -> polars.Series:
        """A column of the source with its type."""
        series = self.source.frame[name]
        if series.dtype != _polars().String:
            return series
        return typed(series, self.remarks, comma=self.source.comma, booleans=booleans)


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows of the source that are used."""

    numbers: npt.NDArray[np.int64]
    kept: _Mask | None  # None for all
    notes: tuple[str, ...]

    def of(self, series: polars.Series) -> polars.Series:
        """These rows of a column."""
        return series if self.kept is None else series.filter(_polars().Series(self.kept))


def _usable(source: Source, roles: Roles, aim: polars.Series, clock: polars.Series | None) -> _Rows:
    gone = missing(aim)
    if gone.all():
        got = f"none in {count(len(gone), 'row')}"
        raise DataError(explain("load", f"the target column {roles.target!r} must have values", got))
    notes = []
    if gone.any():
        notes.append(
            f"{count(int(gone.sum()), 'row')} without a value of the target {roles.target!r} dropped"
        )
    if source.test is not None and gone[source.own :].all():
        got = f"none in {count(len(gone) - source.own, 'row')}"
        must = f"rows of {source.test} must have a value of the target {roles.target!r}"
        raise DataError(explain("load", must, got, "give a test table with known answers"))
    if clock is not None:
        timeless = missing(clock) & ~gone
        if timeless.any():
            notes.append(f"{count(int(timeless.sum()), 'row')} without a value of {clock.name!r} dropped")
        gone = gone | timeless
    if not notes:
        return _Rows(np.arange(len(gone)), None, ())
    return _Rows(np.flatnonzero(~gone), ~gone, tuple(notes))


def _checked_time(series: polars.Series) -> polars.Series:
    """Refuse a column that is no time."""
    pl = _polars()
    if is_date(series) or series.dtype in (pl.Time, pl.Duration) or series.dtype.is_numeric():
        gaps = missing(series)
        if not gaps.all():
            return series
    present = series.drop_nulls()
    got = f"{str(present[0])!r}" if len(present) else "no value"
    raise DataError(
        explain(
            "load",
            f"the time column {series.name!r} must hold dates, times or numbers",
            got,
            "write dates as 2024-01-31, or name another column",
        )
    )


def _times(series: polars.Series) -> npt.NDArray[np.float64]:
    values = numbers_of(series)
    if values is None or not np.isfinite(values).all():
        raise DataError(explain("load", f"the times in {series.name!r} must be finite", "infinite ones"))
    return values


def _group_key(series: polars.Series) -> Key:
    """Number the groups; a row without a group is one of its own."""
    pl = _polars()
    words = stripped(series.cast(pl.String)) if series.dtype == pl.String else series
    try:
        text = words.cast(pl.String)
    except pl.exceptions.PolarsError as error:
        must = f"the group column {series.name!r} must hold words or numbers"
        raise DataError(explain("load", must, f"type {series.dtype}", "name another column")) from error
    labels = text.drop_nulls().unique().sort()
    index = text.replace_strict(labels, np.arange(len(labels)), default=None, return_dtype=pl.Int64)
    gaps = index.is_null().to_numpy()
    codes: npt.NDArray[np.int64] = index.fill_null(0).to_numpy().astype(np.int64)
    codes[gaps] = len(labels) + np.arange(int(gaps.sum()))
    return Key(series.name, codes, tuple(labels.to_list()))


def _polars() -> Any:
    return require("polars", extra="compare", who="reading a table")
