from __future__ import annotations

import datetime

import numpy as np
import polars as pl
import pytest

from normwise.data.columns import MOST_KEPT, OTHER, to_contents
from normwise.data.contents import TableContents
from normwise.data.remarks import Remarks
from normwise.errors import DataError


def _contents(time: str | None = None, **columns: object) -> tuple[TableContents, tuple[str, ...]]:
    remarks = Remarks()
    series = pl.DataFrame(columns).get_columns()
    contents = to_contents(series, remarks, row_name=lambda index: f"row {index + 1}", time=time)
    return contents, remarks.sentences()


def test_numbers_booleans_dates_and_words() -> None:
    day = datetime.date(1970, 1, 3)
    contents, notes = _contents(
        n=[1, None], x=[0.5, float("nan")], flag=[True, None], day=[day, None], word=["b", None]
    )
    assert contents.names == ("n", "x", "flag", "day")
    np.testing.assert_array_equal(contents.numeric, [[1, 0.5, 1, 2], [np.nan] * 4])
    assert contents.categorical[0].categories == ("b",)
    assert contents.categorical[0].codes.tolist() == [0, -1]
    assert notes == ("read as dates, in days since 1970-01-01: 'day'",)


def test_categories_in_natural_order() -> None:
    contents, _ = _contents(k=pl.Series(["s10", "s2", "s10"], dtype=pl.Categorical))
    assert contents.categorical[0].categories == ("s2", "s10")
    assert contents.categorical[0].codes.tolist() == [1, 0, 1]


def test_what_is_dropped_is_said() -> None:
    rows = 50
    contents, notes = _contents(
        id=list(range(rows)),
        order_id=[7 * index % 101 for index in range(rows)],
        same=[0] * rows,
        word=["a"] * rows,
        name=[f"person {index}" for index in range(rows)],
        remark=[f"this is what customer {index} had to say" for index in range(rows)],
        empty=[None] * rows,
        nothing=[float("nan")] * rows,
        nested=[[1]] * rows,
        kept=[float(index) for index in range(rows)],
    )
    assert contents.names == ("kept",)
    assert contents.categorical == ()
    assert notes == (
        "dropped as identifiers: 'order_id' (whole numbers, all different), "
        "'name' (50 different values in 50, such as 'person 0')",
        "dropped, as they only count the rows: 'id'",
        "dropped as free text: 'remark' (50 different values)",
        "dropped as constant: 'same', 'word'",
        "dropped without any value: 'empty', 'nothing'",
        "dropped, as their type has no meaning here: 'nested' (List(Int64))",
    )


def test_identifiers_that_repeat_are_dropped_and_group_is_named() -> None:
    rows = 300
    hashes = [f"{index % 60:032x}" for index in range(rows)]
    contents, notes = _contents(
        customer_id=[1000 + index % 100 for index in range(rows)],
        region_id=[index % 5 for index in range(rows)],
        key=hashes,
    )
    assert contents.names == ("region_id",)
    assert len(notes) == 1
    assert notes[0].startswith(
        "dropped as identifiers that repeat (`group` would keep their rows together): "
    )
    assert "'customer_id' (100 different numbers), 'key' (60 different values" in notes[0]


def test_a_constant_with_gaps_stays_for_the_gaps() -> None:
    contents, notes = _contents(flag=[1, None, 1], word=["a", "a", None], n=[1, 2, 3])
    assert contents.names == ("flag", "n")
    assert [column.name for column in contents.categorical] == ["word"]
    assert notes == ()


def test_dates_become_days_and_cycles_as_their_range_allows() -> None:
    start = datetime.datetime(1970, 1, 1)
    years = [start + datetime.timedelta(days=100 * index, hours=index % 24) for index in range(20)]
    weeks = [start + datetime.timedelta(days=index) for index in range(20)]
    contents, notes = _contents(
        years=years, weeks=weeks, days=[start.date()] * 10 + [datetime.date(1970, 1, 9)] * 10
    )
    assert contents.names == (
        "years",
        *(
            f"years ({cycle}, {part})"
            for cycle in ("month", "weekday", "hour")
            for part in ("sine", "cosine")
        ),
        "weeks",
        "weeks (weekday, sine)",
        "weeks (weekday, cosine)",
        "days",
    )
    weekday = contents.numeric[:, contents.names.index("weeks (weekday, sine)")]
    np.testing.assert_allclose(weekday[7:14], weekday[:7], atol=1e-12)
    assert notes == (
        "read as dates, in days since 1970-01-01: 'years' (month, weekday, hour beside it), "
        "'weeks' (weekday beside it), 'days'",
    )


def test_of_the_time_column_only_cycles_are_inputs() -> None:
    weeks = [datetime.date(2024, 1, 1) + datetime.timedelta(days=index) for index in range(20)]
    contents, notes = _contents(time="when", when=weeks, step=list(range(20)))
    assert contents.names == ("when (weekday, sine)", "when (weekday, cosine)", "step")
    assert notes == ("inputs taken from the column that orders the rows: 'when' (weekday)",)
    contents, notes = _contents(time="step", when=weeks, step=list(range(20)))
    assert "step" not in contents.names
    assert notes[0] == "no input, as it orders the rows: 'step'"


def test_whole_numbers_that_are_dates_by_name_and_value() -> None:
    values = [20240130, 20240131, 20240201]
    contents, _ = _contents(order_date=values, amount=values)
    assert contents.numeric[:, 0].tolist() == [19752, 19753, 19754]
    assert contents.numeric[:, 1].tolist() == values


def test_times_of_day_go_round() -> None:
    contents, notes = _contents(at=[datetime.time(6), datetime.time(18, 30)])
    assert contents.names == ("at", "at (hour, sine)", "at (hour, cosine)")
    np.testing.assert_allclose(contents.numeric[:, :2], [[6, 1], [18.5, np.sin(2 * np.pi * 18.5 / 24)]])
    assert notes == ("read as times of day, in hours: 'at'",)


def test_of_very_many_categories_the_frequent_ones_are_kept() -> None:
    common = [f"c{index}" for index in range(MOST_KEPT)]
    words = [*common, *common, *(f"rare {index}" for index in range(500)), None]
    column = _contents(k=words)[0].categorical[0]
    assert len(column.categories) == MOST_KEPT + 1
    assert column.categories[-1] == OTHER
    assert column.codes[-1] == -1
    assert set(column.codes[-501:-1].tolist()) == {MOST_KEPT}


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), 1e31])
def test_numbers_that_cannot_be_standardised_name_column_and_row(value: float) -> None:
    with pytest.raises(DataError, match=r"column 'b' .* Got 1 other value, first .* in row 2"):
        _contents(a=[1.0, 2.0], b=[1.0, value])


def test_no_usable_column() -> None:
    with pytest.raises(DataError, match=r"beside the target. Got none \(dropped without any value: 'a'\)"):
        _contents(a=[None, None])
