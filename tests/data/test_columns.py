from __future__ import annotations

import datetime

import numpy as np
import polars as pl
import pytest

from normwise.data.columns import to_contents, typed
from normwise.data.contents import TableContents
from normwise.errors import DataError


def _contents(**columns: object) -> tuple[TableContents, tuple[str, ...]]:
    frame = pl.DataFrame(columns)
    return to_contents(frame, row_numbers=np.arange(1, frame.height + 1))


def test_numbers_booleans_dates_and_words() -> None:
    day = datetime.date(1970, 1, 3)
    contents, notes = _contents(
        n=[1, None], x=[0.5, float("nan")], flag=[True, None], day=[day, None], word=["b", None]
    )
    assert contents.names == ("n", "x", "flag", "day")
    np.testing.assert_array_equal(contents.numeric, [[1, 0.5, 1, 2], [np.nan] * 4])
    assert contents.categorical[0].categories == ("b",)
    assert contents.categorical[0].codes.tolist() == [0, -1]
    assert notes == ("'day' read as days since 1970-01-01",)


def test_hours_count_as_fractions_of_a_day() -> None:
    series = typed(pl.Series("t", ["1970-01-02 12:00", "1970-01-01 06:00"]))
    contents, _ = to_contents(series.to_frame(), row_numbers=np.arange(2))
    assert contents.numeric[:, 0].tolist() == [1.5, 0.25]


def test_universal_time() -> None:
    series = typed(pl.Series("t", ["1970-01-02T12:00:00Z", None, "1970-01-01T06:00:00Z"]))
    contents, _ = to_contents(series.to_frame(), row_numbers=np.arange(3))
    np.testing.assert_array_equal(contents.numeric[:, 0], [1.5, np.nan, 0.25])


def test_dates_that_do_not_exist_leave_words() -> None:
    assert typed(pl.Series("t", ["2021-02-28", "2021-02-30"])).dtype == pl.String


def test_categories_in_natural_order() -> None:
    contents, _ = _contents(k=pl.Series(["s10", "s2", "s10"], dtype=pl.Categorical))
    assert contents.categorical[0].categories == ("s2", "s10")
    assert contents.categorical[0].codes.tolist() == [1, 0, 1]


def test_a_column_of_numbers_with_strangers_is_told() -> None:
    contents, notes = _contents(n=["1", "2", "3", "many", None, "1"], w=["1", "a", "b", "a", "b", "b"])
    assert [column.name for column in contents.categorical] == ["n", "w"]
    assert notes == ("'n' read as words: 1 of its 5 values is no number (such as 'many')",)


def test_what_is_dropped_is_said() -> None:
    rows = 50
    contents, notes = _contents(
        id=list(range(rows)),
        Id=[0] * rows,
        name=[f"person {index}" for index in range(rows)],
        empty=[None] * rows,
        nothing=[float("nan")] * rows,
        nested=[[1]] * rows,
        kept=[float(index) for index in range(rows)],
    )
    assert contents.names == ("Id", "kept")
    assert contents.categorical == ()
    said = "; ".join(notes)
    assert "2 columns without any value dropped: 'empty', 'nothing'" in said
    assert "'id' dropped: it only counts the rows" in said
    assert "'name' dropped: 50 different words in 50 values (such as 'person 0')" in said
    assert "'nested' dropped: a column of type List(Int64)" in said


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), 1e31])
def test_numbers_that_cannot_be_standardised_name_column_and_row(value: float) -> None:
    frame = pl.DataFrame({"a": [1.0, 2.0], "b": [1.0, value]})
    with pytest.raises(DataError, match=r"column 'b' .* Got 1 other value, first .* in row 17"):
        to_contents(frame, row_numbers=np.array([3, 17]))


def test_no_usable_column() -> None:
    with pytest.raises(DataError, match=r"beside the target. Got 1 column without any value dropped: 'a'"):
        _contents(a=[None, None])
