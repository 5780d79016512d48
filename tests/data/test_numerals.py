from __future__ import annotations

import polars as pl
import pytest

from normwise.data.numerals import groups_with_points, read_numerals, writes_decimal_commas


@pytest.mark.parametrize(
    ("words", "comma", "values", "decorations"),
    [
        (["1,234", "12", "3,456,789"], False, [1234, 12, 3456789], ("thousands separators",)),
        (["1,234", "12"], True, [1.234, 12], ("decimal commas",)),
        (["0,512", "1,234", "-0,250"], False, [0.512, 1.234, -0.25], ("decimal commas",)),
        (["1,5", "-2,25"], True, [1.5, -2.25], ("decimal commas",)),
        (["1,5", "2,25"], False, [1.5, 2.25], ("decimal commas",)),
        (["1.234,5", "12"], True, [1234.5, 12], ("decimal commas", "thousands separators")),
        (["1.234.567", "12"], True, [1234567, 12], ("thousands separators",)),
        (["1 234", "5"], False, [1234, 5], ("thousands separators",)),
        (["1\u202f234,5"], True, [1234.5], ("decimal commas", "thousands separators")),
        (["1'234.5"], False, [1234.5], ("thousands separators",)),
        (["$1,200.50", "$3", "-$4"], False, [1200.5, 3, -4], ("thousands separators", "currency signs")),
        (["450.000 €", "89.500 €"], False, [450_000, 89_500], ("thousands separators", "currency signs")),
        (["1.459 €", "1.509 €"], False, [1.459, 1.509], ("currency signs",)),
        (["12 €", "3 €"], False, [12, 3], ("currency signs",)),
        (["￥12", "3元"], False, [12, 3], ("currency signs",)),
        (["($12.50)", "$1"], False, [-12.5, 1], ("currency signs",)),
        (["12%", "3.5 %", "0"], False, [12, 3.5, 0], ("percent signs",)),
    ],
)
def test_numbers_as_people_write_them(
    words: list[str], comma: bool, values: list[float], decorations: tuple[str, ...]
) -> None:
    found = read_numerals(pl.Series([*words, None]), comma=comma)
    assert found is not None
    assert found.values.to_list() == [*values, None]
    assert found.decorations == decorations


@pytest.mark.parametrize(
    "words",
    [
        ["12%", "3.5"],
        ["$5", "6", "7"],
        ["1,23,456"],
        ["1,2,3"],
        ["a"],
        ["12 kg"],
        ["1-2"],
        ["", "1"],
        ["1,5", "1.5"],
    ],
)
def test_inconsistent_columns_are_left_alone(words: list[str]) -> None:
    assert read_numerals(pl.Series(words), comma=False) is None


def test_how_a_table_writes_its_decimals() -> None:
    assert writes_decimal_commas(pl.Series(["1,5", "2"]))
    assert not writes_decimal_commas(pl.Series(["1.5", "2"]))
    assert not writes_decimal_commas(pl.Series(["1,5", "x"]))
    assert groups_with_points(pl.Series(["1.234", "5"]))
    assert not groups_with_points(pl.Series(["1.234", "0.512"]))
    assert not groups_with_points(pl.Series(["1.234", "5.1"]))
