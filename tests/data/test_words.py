from __future__ import annotations

import polars as pl
import pytest

from normwise.data.remarks import Remarks
from normwise.data.words import typed


def _typed(
    words: list[str | None], *, comma: bool = False, booleans: bool = True
) -> tuple[list[object], tuple[str, ...]]:
    remarks = Remarks()
    series = typed(pl.Series("c", words, dtype=pl.String), remarks, comma=comma, booleans=booleans)
    return series.to_list(), remarks.sentences()


def test_numbers_with_gaps() -> None:
    assert _typed([" 1", "NaN", "1e3", "", None, "N/A", "?", "+.5"]) == (
        [1, None, 1000, None, None, None, None, 0.5],
        (),
    )


@pytest.mark.parametrize("pair", ["true/false", "yes/no", "Y/N", "t/f", "是/否", "On/Off", "ja/nein"])
def test_yes_and_no(pair: str) -> None:
    yes, no = pair.split("/")
    values, notes = _typed([yes, no, None, yes])
    assert values == [True, False, None, True]
    assert notes == (f"read as yes or no: 'c' ({pair.lower()})",)


def test_a_target_keeps_its_words() -> None:
    assert _typed(["Yes", "no"], booleans=False) == (["Yes", "no"], ())
    assert _typed(["True", "FALSE"], booleans=False) == ([True, False], ())


@pytest.mark.parametrize("word", ["unknown", "-", "未知", "none", ".", "#DIV/0!"])
def test_words_that_say_unknown_are_missing_among_numbers(word: str) -> None:
    values, notes = _typed(["1", word, "2.5", word])
    assert values == [1, None, 2.5, None]
    assert notes == (f"words among numbers or dates became missing values: 'c' (2 values: {word!r})",)


def test_words_that_say_unknown_are_missing_among_other_forms() -> None:
    assert _typed(["$1", "unknown", "$2"])[0] == [1, None, 2]
    dates = _typed(["2024-01-31", "unknown"])[0]
    assert dates[1] is None
    assert str(dates[0]) == "2024-01-31 00:00:00"


def test_words_that_say_unknown_stay_words_among_words() -> None:
    assert _typed(["none", "all", "-"])[0] == ["none", "all", "-"]


def test_a_few_other_words_are_missing_too() -> None:
    values, notes = _typed([*map(str, range(99)), "about 7"])
    assert values == [*range(99), None]
    assert notes == ("words among numbers or dates became missing values: 'c' (1 value: 'about 7')",)


def test_many_words_among_numbers_leave_words() -> None:
    values, notes = _typed(["1", "2", "3", "many", None, "1"])
    assert values == ["1", "2", "3", "many", None, "1"]
    assert notes == (
        "read as words although mostly numbers: 'c' (1 of 5 values is no number, such as 'many')",
    )


def test_points_group_digits_where_commas_are_decimal() -> None:
    assert _typed(["1.234", "12"], comma=True)[0] == [1234, 12]
    assert _typed(["1.234", "1.5"], comma=True)[0] == [1.234, 1.5]
    assert _typed(["1.234", "12"])[0] == [1.234, 12]


def test_the_order_of_day_and_month_is_said() -> None:
    assert _typed(["1/2/2024"])[1] == ("dates in numbers alone taken as: 'c' (month/day/year)",)


def test_times_of_day() -> None:
    assert [str(value) for value in _typed(["06:30", "18:00:05"])[0]] == ["06:30:00", "18:00:05"]


def test_nothing_at_all() -> None:
    assert _typed(["", None, "NA"]) == ([None, None, None], ())
