from __future__ import annotations

import datetime

import numpy as np
import polars as pl
import pytest

from normwise.data.dates import days_of_integers, read_clock, read_dates, turns

START = datetime.datetime(1970, 1, 1)


def _moment(text: str, *others: str) -> datetime.datetime | None:
    dates = read_dates(pl.Series([text, *others, None]))
    if dates is None:
        return None
    assert np.isnan(dates.days[-1])
    return START + datetime.timedelta(days=float(dates.days[0]))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "2024-01-31",
            "2024/1/31",
            "2024.01.31",
            "2024年1月31日",
            "31.01.2024",
            "31.1.24",
            "01/31/2024",
            "31-01-2024",
        ),
        *("31 Jan 2024", "31-Jan-24", "Jan 31, 2024", "January 31st, 2024", "Wed, 31 January 2024"),
    ],
)
def test_forms_of_a_day(text: str) -> None:
    assert _moment(text) == datetime.datetime(2024, 1, 31)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "2024-01-31 10:20",
            "2024/1/31 10:20",
            "2024-01-31T10:20:00Z",
            "2024-01-31T10:20:00.000",
            "31.01.2024 10:20:00",
        ),
        *(
            "01/31/2024 10:20 AM",
            "2024-01-31 12:20:00+02:00",
            "2024-01-31T05:50-0430",
            "2024年1月31日 10时20分",
        ),
    ],
)
def test_forms_of_a_moment(text: str) -> None:
    found = _moment(text)
    assert found is not None
    assert abs(found - datetime.datetime(2024, 1, 31, 10, 20)) < datetime.timedelta(milliseconds=1)


def test_noon_and_midnight() -> None:
    assert _moment("1/2/2024 12:00 AM") == datetime.datetime(2024, 1, 2)
    assert _moment("1/2/2024 12:00 PM") == datetime.datetime(2024, 1, 2, 12)


def test_a_number_above_twelve_tells_day_from_month() -> None:
    assert _moment("1/2/2024") == datetime.datetime(2024, 1, 2)
    assert _moment("1/2/2024", "13/2/2024") == datetime.datetime(2024, 2, 1)
    assert _moment("1.2.2024") == datetime.datetime(2024, 2, 1)
    assert _moment("1.2.2024", "1.13.2024") == datetime.datetime(2024, 1, 2)
    dates = read_dates(pl.Series(["1/2/2024"]))
    assert dates is not None
    assert dates.order == "month/day/year"


def test_months_alone_begin_on_their_first_day() -> None:
    assert _moment("2024-02") == _moment("2024年2月") == datetime.datetime(2024, 2, 1)


@pytest.mark.parametrize(
    "text",
    ["2021-02-30", "13.13.2024", "2024-00-01", "12", "a-b-c", "2024-01-31 25:00", "1234-13", "Foo 3, 2024"],
)
def test_what_is_no_date(text: str) -> None:
    assert read_dates(pl.Series([text])) is None


def test_one_wrong_date_leaves_the_column_alone() -> None:
    assert read_dates(pl.Series(["2024-01-31", "soon"])) is None


def test_clock() -> None:
    hours = read_clock(pl.Series(["06:30", "23:59:30", None, "06:30"]))
    assert hours is not None
    np.testing.assert_allclose(hours, [6.5, 23 + 59.5 / 60, np.nan, 6.5])
    assert read_clock(pl.Series(["25:00"])) is None
    assert read_clock(pl.Series(["06:30", "x"])) is None


def test_integers() -> None:
    days = days_of_integers(np.array([19700102, np.nan]))
    assert days is not None
    np.testing.assert_array_equal(days, [1, np.nan])
    assert days_of_integers(np.array([20240132.0])) is None
    assert days_of_integers(np.array([5.0])) is None


def test_turns_need_their_range() -> None:
    assert list(turns(np.arange(400.0))) == ["month", "weekday"]
    assert list(turns(np.arange(20.0))) == ["weekday"]
    assert list(turns(np.arange(0, 5, 0.3))) == ["hour"]
    assert list(turns(np.arange(0, 21, 7.0))) == []
