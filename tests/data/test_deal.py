from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from normwise.data.split import Dealing, SplitRows, split_rows, take
from normwise.errors import ArgumentError, DataError

MODEST = settings(max_examples=40, deadline=None, derandomize=True)
SEEDS = st.integers(0, 2**32)


def _parts(split: SplitRows) -> list[np.ndarray]:
    return [split.train, split.validation, split.test]


def _share_a_group(split: SplitRows, groups: np.ndarray) -> bool:
    sets = [set(groups[part].tolist()) for part in _parts(split)]
    return bool(sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])


@MODEST
@given(st.lists(st.integers(1, 12), min_size=5, max_size=60), SEEDS, st.booleans())
def test_groups_stay_together(sizes: list[int], seed: int, classes: bool) -> None:
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    labels = groups % 2 if classes else None
    split = split_rows(Dealing(len(groups), labels, groups=groups), seed)
    assert sorted(np.concatenate(_parts(split)).tolist()) == list(range(len(groups)))
    assert not _share_a_group(split, groups)


@pytest.mark.parametrize("copies", [1, 2, 5])
def test_groups_keep_fractions_and_classes(copies: int) -> None:
    labels = np.repeat(np.arange(400) % 10 == 0, copies).astype(np.int64)
    groups = np.repeat(np.arange(400), copies)
    for seed in range(5):
        split = split_rows(Dealing(len(groups), labels, groups=groups), seed)
        for part, fraction in zip(_parts(split), (0.6, 0.2, 0.2), strict=True):
            assert len(part) / len(groups) == pytest.approx(fraction, abs=0.02)
            assert labels[part].mean() == pytest.approx(0.1, abs=0.03)


def test_a_few_large_groups_differ_by_seed_and_leave_no_part_empty() -> None:
    groups = np.repeat(np.arange(6), [50, 40, 60, 30, 45, 55])
    labels = np.random.default_rng(1).integers(0, 2, len(groups))
    tests = set()
    for seed in range(12):
        split = split_rows(Dealing(len(groups), labels, groups=groups), seed)
        assert not _share_a_group(split, groups)
        assert min(map(len, _parts(split))) >= 30
        tests.add(tuple(np.unique(groups[split.test])))
    assert len(tests) >= 3


def test_a_class_of_few_groups_is_trained_on() -> None:
    groups = np.repeat(np.arange(20), 10)
    labels = (groups < 3).astype(np.int64)
    for seed in range(10):
        split = split_rows(Dealing(200, labels, groups=groups), seed)
        assert all(labels[part].any() for part in _parts(split))


def test_too_few_groups() -> None:
    with pytest.raises(
        DataError, match=r"stay in one part. Got no row for the validation part out of 20 in 2 groups"
    ):
        split_rows(Dealing(20, groups=np.arange(20) % 2), 0)


@MODEST
@given(st.lists(st.integers(0, 30), min_size=10, max_size=80), SEEDS)
def test_an_order_puts_the_oldest_first_and_equal_times_together(times: list[int], seed: int) -> None:
    order = np.array(times, dtype=np.float64)
    if len(np.unique(order)) < 3:
        with pytest.raises(DataError, match="rows of three times or more"):
            split_rows(Dealing(len(order), order=order), seed)
        return
    split = split_rows(Dealing(len(order), order=order), seed)
    train, validation, test = (order[part] for part in _parts(split))
    assert train.max() < validation.min()
    assert validation.max() < test.min()
    assert {*split_rows(Dealing(len(order), order=order), seed + 1).test.tolist()} == {*split.test.tolist()}


def test_an_order_keeps_the_fractions() -> None:
    order = np.random.default_rng(0).permutation(100).astype(np.float64)
    split = split_rows(Dealing(100, order=order), 0)
    assert [len(part) for part in _parts(split)] == [60, 20, 20]
    assert split.train.tolist() != sorted(split.train.tolist())


def test_an_order_with_a_fixed_test_part() -> None:
    fixed = np.full(100, -1, dtype=np.int8)
    fixed[:20] = 2
    order = np.arange(100.0)
    split = split_rows(Dealing(100, fixed=fixed, order=order), 0)
    assert set(split.test.tolist()) == set(range(20))
    assert set(split.validation.tolist()) == set(range(80, 100))


def test_fixed_rows_of_all_three_parts() -> None:
    fixed = np.array([0] * 10 + [1] * 4 + [2] * 3 + [-1] * 20, dtype=np.int8)
    split = split_rows(Dealing(37, fixed=fixed), 1)
    assert set(split.validation.tolist()) == set(range(10, 14))
    assert set(split.test.tolist()) == set(range(14, 17))
    assert len(split.train) == 30


def test_a_fixed_validation_part_leaves_the_rest_to_train_and_test() -> None:
    fixed = np.array([1] * 10 + [-1] * 40, dtype=np.int8)
    labels = np.arange(50) % 2
    split = split_rows(Dealing(50, labels, fixed), 0)
    assert set(split.validation.tolist()) == set(range(10))
    assert (len(split.train), len(split.test)) == (30, 10)


def test_no_free_row_for_a_part() -> None:
    with pytest.raises(DataError, match="no row for the test part"):
        split_rows(Dealing(20, fixed=np.array([0] * 15 + [1] * 5, dtype=np.int8)), 0)


def test_shares_are_nested_and_keep_every_class() -> None:
    labels = np.array([0] * 90 + [1] * 9 + [2])
    whole = SplitRows(np.random.default_rng(0).permutation(100), np.arange(3), np.arange(4))
    small, large = take(whole, labels, train_share=0.1), take(whole, labels, train_share=0.5)
    assert set(small.train.tolist()) < set(large.train.tolist())
    assert np.bincount(labels[small.train]).tolist() == [9, 1, 1]
    assert take(whole, labels, most=(50, 2, 1)).train.tolist() == whole.train[:50].tolist()


@pytest.mark.parametrize("most", [(0, 1, 1), (1, 2)])
def test_bad_limits(most: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match="`most` must be three numbers"):
        take(SplitRows(*[np.arange(3)] * 3), None, most=most)  # type: ignore[arg-type]
