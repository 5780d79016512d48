from __future__ import annotations

import polars as pl
import pytest

from normwise.data.units import read_measured


@pytest.mark.parametrize(
    ("words", "values", "decorations"),
    [
        (["36.8℃", "37℃"], [36.8, 37], [("units", "℃")]),
        (["3 days", "1 day"], [3, 1], [("units", "days, day")]),
        (["1,234 sqft", "900 sqft"], [1234, 900], [("units", "sqft"), ("thousands separators", "")]),
        (["29 years", "30"], [29, 30], [("units", "years")]),
        (["50m", "60m"], [50, 60], [("units", "m")]),
        (["41k", "52000", "1.5M"], [41_000, 52_000, 1.5e6], [("magnitudes", "k, M")]),
        (["€565K", "€1.5M"], [565_000, 1.5e6], [("magnitudes", "K, M"), ("currency signs", "")]),
        (["12万", "1.5亿"], [120_000, 1.5e8], [("magnitudes", "万, 亿")]),
        (["<5", "7.5", "8"], [5, 7.5, 8], [("limits", "such as '<5'")]),
        (["10+", "7", "8"], [10, 7, 8], [("limits", "such as '10+'")]),
        (
            ["10+ years", "< 1 year", "2 years", "3 years"],
            [10, 1, 2, 3],
            [("limits", "such as '10+ years'"), ("units", "years, year")],
        ),
        (["25", "30岁"], [25, 30], [("units", "岁")]),
        (["> 5 mg/l", "3 mg/l", "4 mg/l"], [5, 3, 4], [("limits", "such as '> 5 mg/l'"), ("units", "mg/l")]),
    ],
)
def test_numbers_with_something_beside_them(
    words: list[str], values: list[float], decorations: list[tuple[str, str]]
) -> None:
    found = read_measured(pl.Series([*words, None]), comma=False)
    assert found is not None
    assert found.values.to_list() == pytest.approx([*values, None])
    assert list(found.decorations) == decorations


@pytest.mark.parametrize(
    "words",
    [
        ["12 kg", "12 lb"],  # two units
        ["5m", "5mm"],  # no plural
        ["3b", "3", "4"],  # a code
        ["<=50K", ">50K"],  # bands
        ["12%", "3.5"],  # a share or not
        ["A/5 21171", "PC 17599"],
        ["18-25 y", "26-35 y"],
        ["1st", "2nd", "3rd"],
        ["C85", "E46"],
        ["12", "13"],
        ["kg"],
    ],
)
def test_what_may_mean_something_else_is_left_alone(words: list[str]) -> None:
    assert read_measured(pl.Series(words), comma=False) is None


def test_a_target_of_few_classes_keeps_its_limits() -> None:
    assert read_measured(pl.Series(["1", "2", "3+"]), comma=False, limits=False) is None


def test_decimal_commas_before_a_unit() -> None:
    found = read_measured(pl.Series(["1,5 kg", "2,25 kg"]), comma=True)
    assert found is not None
    assert found.values.to_list() == [1.5, 2.25]
