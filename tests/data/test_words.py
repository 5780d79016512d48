from __future__ import annotations

from datetime import datetime

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


def test_full_width_digits_are_digits() -> None:
    values, notes = _typed(["１２，３４５．５", "－７", "9", "？"])
    assert values == [12345.5, -7, 9, None]
    assert notes == (
        "thousands separators taken out: 'c'",
        "full-width digits and signs read as plain ones: 'c' (3 values)",
    )
    assert _typed(["２０２４－０１－３１"])[0][0] == datetime(2024, 1, 31)


def test_words_keep_their_full_width_signs() -> None:
    assert _typed(["甲（１）", "乙（２）"]) == (["甲（１）", "乙（２）"], ())


def test_units_are_taken_off() -> None:
    assert _typed(["3 kg", "unknown", "4.5 kg"]) == (
        [3, None, 4.5],
        (
            "words among numbers or dates became missing values: 'c' (1 value: 'unknown')",
            "units taken off: 'c' (kg)",
        ),
    )


def test_bands_of_a_target_are_classes() -> None:
    assert _typed(["1", "2", "3+"], booleans=False)[0] == ["1", "2", "3+"]
    assert _typed(["1", "2", "3+"])[0] == [1, 2, 3]
