from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from normwise.data.contents import Categorical, ImageContents, TableContents
from normwise.data.prepare import MOST_CATEGORIES, prepare
from normwise.data.split import SplitRows
from normwise.errors import DataError

NAN = float("nan")
ROWS = SplitRows(np.arange(6), np.arange(6, 8), np.arange(8, 10))


def _table(*columns: list[float], categorical: tuple[Categorical, ...] = ()) -> TableContents:
    names = tuple(f"c{index}" for index in range(len(columns)))
    return TableContents(names, np.array(columns, dtype=np.float64).T.reshape(10, -1), categorical)


def _random(seed: int, columns: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(5.0, 3.0, (10, columns))


def _columns(*words: str | None) -> Categorical:
    categories = tuple(sorted({word for word in words if word is not None}))
    codes = [-1 if word is None else categories.index(word) for word in words]
    return Categorical("k", np.array(codes, dtype=np.int64), categories)


def test_numbers_are_standardised_on_the_training_part() -> None:
    values = _random(0)
    prepared = prepare(TableContents(("a", "b", "c"), values), ROWS)
    mean, std = values[:6].mean(axis=0), values[:6].std(axis=0)
    np.testing.assert_allclose(prepared.test.numpy(), (values[8:] - mean) / std, rtol=1e-5)
    np.testing.assert_allclose(prepared.train.double().mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(prepared.train.double().std(0, unbiased=False), 1, rtol=1e-6)
    assert prepared.train.dtype == torch.float32


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.floats(-1e6, 1e6), st.booleans())
def test_rows_outside_training_change_no_training_input(seed: int, shift: float, missing: bool) -> None:
    values = _random(seed)
    values[2, 1] = NAN
    moved = values.copy()
    moved[6:] += shift
    if missing:
        moved[6:, 0] = NAN
    words = ["a", "b", "a", None, "b", "a", "a", "b", "a", "b"]
    first = TableContents(("a", "b", "c"), values, (_columns(*words),))
    second = TableContents(("a", "b", "c"), moved, (_columns(*words[:6], "z", "z", None, "y"),))
    assert torch.equal(prepare(first, ROWS).train, prepare(second, ROWS).train)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_pixels_outside_training_change_no_training_input(dtype: type) -> None:
    pixels = np.random.default_rng(1).integers(0, 200, (10, 3, 4, 5)).astype(dtype)
    brighter = pixels.copy()
    brighter[6:] += 55
    first, second = (prepare(ImageContents(part), ROWS) for part in (pixels, brighter))
    assert torch.equal(first.train, second.train)
    assert not torch.equal(first.test, second.test)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_are_standardised_by_channel(dtype: type) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (10, 2, 4, 5)).astype(dtype)
    pixels[:, 1] //= 4
    train = pixels[:6].astype(np.float64)
    mean, std = train.mean(axis=(0, 2, 3), keepdims=True), train.std(axis=(0, 2, 3), keepdims=True)
    prepared = prepare(ImageContents(pixels), ROWS)
    np.testing.assert_allclose(prepared.validation.numpy(), (pixels[6:8] - mean) / std, rtol=1e-4, atol=1e-5)
    assert prepared.validation.dtype == torch.float32


def test_a_constant_channel_becomes_zeros_and_constant_images_are_an_error() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (10, 2, 4, 4)).astype(np.uint8)
    pixels[:, 0] = 77
    assert torch.count_nonzero(prepare(ImageContents(pixels), ROWS).train[:, 0].round(decimals=4)) == 0
    pixels[:, 1] = 3
    with pytest.raises(DataError, match="the same value in every training pixel"):
        prepare(ImageContents(pixels), ROWS)


def test_missing_numbers_take_the_training_median_and_an_indicator() -> None:
    prepared = prepare(_table([1, 2, NAN, 10, 20, NAN, NAN, 4, 5, 6]), ROWS)
    filled = np.array([1, 2, 6, 10, 20, 6, 6, 4, 5, 6.0])
    expected = (filled - filled[:6].mean()) / filled[:6].std()
    np.testing.assert_allclose(prepared.train[:, 0], expected[:6], rtol=1e-6)
    np.testing.assert_allclose(prepared.validation[:, 0], expected[6:8], rtol=1e-6)
    assert prepared.train[:, 1].tolist() == [0, 0, 1, 0, 0, 1]
    assert prepared.validation[:, 1].tolist() == [1, 0]
    assert "'c0 (3)'; 1 indicator column added" in prepared.notes[0]


def test_missing_only_outside_training_has_no_indicator() -> None:
    prepared = prepare(_table([1, 2, 3, 4, 5, 7, NAN, 4, 5, 6]), ROWS)
    filled = np.array([1, 2, 3, 4, 5, 7.0])
    assert prepared.train.shape == (6, 1)
    assert prepared.validation[0, 0].item() == pytest.approx((3.5 - filled.mean()) / filled.std(), rel=1e-5)
    assert prepared.notes[0].endswith("in 1 column: 'c0 (1)'")


def test_constant_columns_are_dropped_and_named() -> None:
    noise = [0.1 + 0.2, 0.3, 0.3, 0.3, 0.3, 0.3, 9, 9, 9, 9]
    absent = [NAN] * 6 + [1, 2, 3, 4]
    prepared = prepare(_table([7] * 6 + [1, 2, 3, 4], list(range(10)), noise, absent), ROWS)
    assert prepared.train.shape == (6, 1)
    assert prepared.notes == (
        "3 columns constant in the training part dropped: 'c0', 'c2', 'c3'",
        "numbers standardised by the training mean and standard deviation of each column",
    )


def test_without_standardising_numbers_and_pixels_are_those_of_the_file() -> None:
    table = _table([7] * 10, list(range(10)), [1, 2, NAN, 10, 20, 3, NAN, 4, 5, 6])
    prepared = prepare(table, ROWS, standardise=False)
    assert prepared.train.tolist()[2] == [7, 2, 3, 1]  # the median, and that it was missing
    assert prepared.validation.tolist() == [[7, 6, 3, 1], [7, 7, 4, 0]]
    assert prepared.notes[-1] == "numbers in the units of the file"
    pixels = np.random.default_rng(4).integers(0, 256, (10, 2, 4, 4)).astype(np.uint8)
    images = prepare(ImageContents(pixels), ROWS, standardise=False)
    np.testing.assert_array_equal(images.train.numpy(), pixels[:6])
    assert images.train.dtype == torch.float32
    assert images.notes == ("pixels as in the file",)


def test_a_column_known_only_by_its_gaps_keeps_the_indicator() -> None:
    prepared = prepare(_table([5, NAN, 5, NAN, 5, 5, 5, NAN, 5, 5]), ROWS)
    assert prepared.train.tolist() == [[0], [1], [0], [1], [0], [0]]
    assert prepared.validation.tolist() == [[0], [1]]
    assert prepared.notes[0] == (
        "only whether a value is missing kept of 1 column, otherwise constant in the training part: 'c0'"
    )


def test_nothing_varies() -> None:
    with pytest.raises(DataError, match="at least one input column must vary"):
        prepare(_table([7] * 10, categorical=(_columns(*["a"] * 10),)), ROWS)


def test_categories_come_from_training() -> None:
    words = ("red", "blue", "red", None, "blue", "red", "green", None, "blue", "red")
    prepared = prepare(_table(categorical=(_columns(*words),)), ROWS)
    blue, red, missing = [1, 0, 0], [0, 1, 0], [0, 0, 1]
    assert prepared.train.tolist() == [red, blue, red, missing, blue, red]
    assert prepared.validation.tolist() == [[0, 0, 0], missing]
    assert prepared.test.tolist() == [blue, red]
    assert prepared.notes == (
        "1 column of words encoded one-hot: 'k (2 and missing)'",
        "validation or test have words that training does not: 'k (1 value)'",
    )


def test_only_the_commonest_categories_get_a_column() -> None:
    many = MOST_CATEGORIES + 6
    words = [f"w{index:03d}" for index in range(many) for _ in range(1 if index < 6 else 2)]
    rows = SplitRows(np.arange(len(words)), np.arange(3), np.arange(len(words) - 3, len(words)))
    column = _columns(*words)
    prepared = prepare(TableContents((), np.empty((len(words), 0)), (column,)), rows)
    assert prepared.train.shape[1] == MOST_CATEGORIES + 1
    assert prepared.train[:6, -1].tolist() == [1.0] * 6
    assert prepared.train.sum(1).tolist() == [1.0] * len(words)
    assert prepared.notes == ("1 column of words encoded one-hot: 'k (64 and the rest)'",)
