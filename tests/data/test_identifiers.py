from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from normwise.data.identifiers import kind_of_numbers, kind_of_words


@pytest.mark.parametrize(
    "name", ["id", "Unnamed: 0", "index", "row_number", "PassengerId", "序号", "column 1"]
)
def test_counters_by_name(name: str) -> None:
    assert kind_of_numbers(name, np.arange(7.0) + 3) == ("counter", "")


@pytest.mark.parametrize("name", ["day", "paid", "x", "amount"])
def test_numbers_of_other_names_may_be_measured(name: str) -> None:
    assert kind_of_numbers(name, np.arange(50.0)) is None


def test_identifiers_by_name_and_values() -> None:
    shuffled = np.random.default_rng(0).permutation(1000).astype(float)
    assert kind_of_numbers("customer_id", shuffled) == ("identifier", "whole numbers, all different")
    assert kind_of_numbers("customer_id", shuffled // 5) == ("repeating", "200 different numbers")
    assert kind_of_numbers("class_id", shuffled % 5) is None
    assert kind_of_numbers("grid_id", shuffled / 3) is None


def _kind(words: list[str], name: str = "k") -> str | None:
    series = pl.Series(words)
    found = kind_of_words(name, series, series.n_unique())
    return None if found is None else found[0]


def test_words() -> None:
    uuids = [f"{index:08x}-0000-4000-8000-000000000000" for index in range(100)]
    texts = [f"on day {index} it was raining again" for index in range(100)]
    assert _kind(uuids) == "identifier"
    assert _kind(uuids[:30] * 10) == "repeating"
    assert _kind([f"n{index}" for index in range(100)]) == "identifier"
    assert _kind([f"n{index % 60}" for index in range(100)]) is None
    assert _kind([f"n{index % 60}" for index in range(100)], "user_id") == "repeating"
    assert _kind(texts) == _kind(texts[:60] * 2) == "text"
    assert _kind([f"w{index}" for index in range(20)]) is None
