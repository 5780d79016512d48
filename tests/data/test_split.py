from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from normwise.data.split import Dealing, SplitRows, free_then_test, split_rows
from normwise.errors import ArgumentError, DataError

MODEST = settings(max_examples=60, deadline=None, derandomize=True)
CLASS_SIZES = st.lists(st.integers(2, 40), min_size=2, max_size=8).filter(lambda sizes: max(sizes) >= 3)
SEEDS = st.integers(0, 2**32)


def _labels(sizes: list[int], order_seed: int) -> np.ndarray:
    labels = np.repeat(np.arange(len(sizes)), sizes).astype(np.int64)
    return np.random.default_rng(order_seed).permutation(labels)


def _parts(split: SplitRows) -> list[np.ndarray]:
    return [split.train, split.validation, split.test]


@MODEST
@given(CLASS_SIZES, SEEDS)
def test_stratified_parts_are_disjoint_and_complete(sizes: list[int], seed: int) -> None:
    labels = _labels(sizes, 0)
    rows = np.concatenate(_parts(split_rows(Dealing(len(labels), labels), seed)))
    assert sorted(rows.tolist()) == list(range(len(labels)))


@MODEST
@given(CLASS_SIZES, SEEDS)
def test_every_class_is_where_its_size_allows(sizes: list[int], seed: int) -> None:
    labels = _labels(sizes, 1)
    split = split_rows(Dealing(len(labels), labels), seed)
    train, validation, test = (np.bincount(labels[part], minlength=len(sizes)) for part in _parts(split))
    for size, in_train, in_validation, in_test in zip(sizes, train, validation, test, strict=True):
        assert in_train >= 1
        assert in_test >= 1
        assert in_validation == 0 if size == 2 else in_validation >= 1
        if size >= 5:
            assert abs(in_validation - 0.2 * size) <= 1
            assert abs(in_test - 0.2 * size) <= 1


@MODEST
@given(st.integers(10, 300), SEEDS)
def test_without_labels_sizes_follow_the_fractions(rows: int, seed: int) -> None:
    split = split_rows(Dealing(rows), seed, fractions=(0.5, 0.3, 0.2))
    assert sorted(np.concatenate(_parts(split)).tolist()) == list(range(rows))
    assert abs(len(split.validation) - 0.3 * rows) <= 0.5
    assert abs(len(split.test) - 0.2 * rows) <= 0.5


@MODEST
@given(CLASS_SIZES, st.integers(1, 20), SEEDS)
def test_fixed_test_part_stays_and_takes_no_part_in_the_draw(sizes: list[int], extra: int, seed: int) -> None:
    labels = _labels(sizes, 2)
    longer = np.concatenate([labels, np.zeros(extra, dtype=np.int64)])
    split = split_rows(Dealing(len(longer), longer, free_then_test(len(labels), extra)), seed)
    assert sorted(split.test.tolist()) == list(range(len(labels), len(longer)))
    assert sorted(np.concatenate([split.train, split.validation]).tolist()) == list(range(len(labels)))
    shorter = split_rows(
        Dealing(len(labels) + 1, longer[: len(labels) + 1], free_then_test(len(labels), 1)), seed
    )
    assert split.train.tolist() == shorter.train.tolist()
    for name, size in enumerate(sizes):
        in_validation = int((labels[split.validation] == name).sum())
        assert in_validation >= 1
        assert size < 5 or abs(in_validation - 0.25 * size) <= 1


def test_same_seed_same_rows_other_seed_other_rows() -> None:
    labels = _labels([30, 30], 3)
    first, again, other = (split_rows(Dealing(60, labels), seed) for seed in (7, 7, 8))
    for one, same in zip(_parts(first), _parts(again), strict=True):
        assert one.tolist() == same.tolist()
    assert set(first.test.tolist()) != set(other.test.tolist())


def test_rows_of_sorted_classes_come_mixed() -> None:
    labels = np.repeat(np.arange(2), 50).astype(np.int64)
    train = labels[split_rows(Dealing(100, labels), 0).train]
    assert 5 < train[:20].sum() < 15


def test_many_small_classes_keep_the_fractions_in_all() -> None:
    labels = _labels([7] * 100, 4)
    split = split_rows(Dealing(len(labels), labels), 0)
    assert abs(len(split.validation) - 140) <= 1
    assert abs(len(split.test) - 140) <= 1


@pytest.mark.parametrize(
    "fractions", [(0.6, 0.4, 0.0), (0.5, 0.5, 0.5), (0.6, 0.4), (float("nan"), 0.5, 0.5), (1.2, -0.4, 0.2)]
)
def test_bad_fractions(fractions: tuple[float, float, float]) -> None:
    with pytest.raises(ArgumentError, match="three positive numbers"):
        split_rows(Dealing(20), 0, fractions=fractions)


def test_negative_seed() -> None:
    with pytest.raises(ArgumentError, match="seed"):
        split_rows(Dealing(20), -1)


def test_classes_of_two_leave_no_validation_part() -> None:
    with pytest.raises(DataError, match="no row for the validation part"):
        split_rows(Dealing(10, _labels([2] * 5, 5)), 0)
