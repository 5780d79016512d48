from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest
import torch

from normwise.data import Dataset, load
from normwise.data.contents import Categorical, TableContents
from normwise.data.dataset import assemble
from normwise.data.split import Dealing, Fractions, free_then_test
from normwise.data.task import read_target
from normwise.errors import ArgumentError, DataError


def _assemble(
    x: np.ndarray, y: np.ndarray, *, words: np.ndarray | None = None, test_from: int | None = None
) -> Dataset:
    names = tuple(f"c{index}" for index in range(x.shape[1]))
    categorical = () if words is None else (Categorical("k", words, ("a", "b")),)
    contents = TableContents(names, x, categorical)
    target = read_target("y", y, task=None)
    fixed = None if test_from is None else free_then_test(test_from, len(x) - test_from)
    return assemble(name="n", source="s", kind="table", contents=contents, target=target, fixed=fixed)


X = np.random.default_rng(0).normal(size=(40, 2))
Y = np.arange(40) % 2


def test_a_row_keeps_its_target() -> None:
    # The first column tells the target, so a part whose inputs and targets came apart is caught.
    data = _assemble(np.column_stack([Y * 10.0, X]), Y)
    split = data.split(5)
    for part in (split.train, split.validation, split.test):
        assert torch.equal(part.inputs[:, 0] > 0, part.targets == 1)


def test_regression_targets_use_training_moments_alone() -> None:
    y = np.linspace(0.5, 100.3, 40)
    fixed = _assemble(X, y, test_from=30)
    moved = _assemble(X, np.concatenate([y[:30], y[30:] + 1000]), test_from=30)
    first, second = fixed.split(1), moved.split(1)
    assert torch.equal(first.train.targets, second.train.targets)
    assert (first.target_mean, first.target_std) == (second.target_mean, second.target_std)
    own = first.test.targets.double() * first.target_std + first.target_mean
    np.testing.assert_allclose(np.sort(own), y[30:], rtol=1e-5)


def test_fingerprint_tells_every_change() -> None:
    words = np.arange(40) % 2
    base = _assemble(X, Y, words=words)
    assert base.fingerprint == _assemble(X.copy(), Y.copy(), words=words.copy()).fingerprint
    x, y, other = X.copy(), Y.copy(), words.copy()
    x[3, 1] += 1e-9
    y[3] = 1 - y[3]
    other[3] = -1
    changed = [
        _assemble(x, Y, words=words),
        _assemble(X, y, words=words),
        _assemble(X, Y, words=other),
        _assemble(X, Y, words=words, test_from=30),
        _assemble(X, Y * 2, words=words),
    ]
    assert len({base.fingerprint, *(data.fingerprint for data in changed)}) == 6


def test_words_alone_are_data_too() -> None:
    data = _assemble(np.empty((40, 0)), Y, words=np.arange(40) // 2 % 2)
    assert data.inputs == "1 categorical column"
    assert data.split(0).in_shape == (2,)


def test_splits_repeat_and_survive_pickling() -> None:
    data = load("wine")
    first, second = data.split(3), pickle.loads(pickle.dumps(data)).split(3)
    for name in ("train", "validation", "test"):
        one, two = getattr(first, name), getattr(second, name)
        assert torch.equal(one.inputs, two.inputs)
        assert torch.equal(one.targets, two.targets)


@pytest.mark.parametrize("fractions", [(0.6, 0.2, 0.2), (0.2, 0.3, 0.5)])
def test_fractions(fractions: Fractions) -> None:
    split = load("digits").split(0, fractions=fractions)
    sizes = [len(part.targets) / 1797 for part in (split.train, split.validation, split.test)]
    np.testing.assert_allclose(sizes, fractions, atol=1e-3)
    with pytest.raises(ArgumentError):
        load("wine").split(0, fractions=(0.9, 0.2, 0.2))


def test_a_target_constant_in_training() -> None:
    y = np.where(np.arange(40) < 30, 1.5, 2.5)
    with pytest.raises(
        DataError, match=r"the target 'y' must vary in the training part. Got 1.5 in each of its"
    ):
        _assemble(X, y, test_from=30).split(0)


def test_a_class_of_the_fixed_test_part_alone() -> None:
    with pytest.raises(DataError, match=r"must have training rows. Got none for the class '2'"):
        _assemble(X, np.concatenate([Y[:30], [2] * 10]), test_from=30)


def test_too_few_rows_and_classes_too_small() -> None:
    with pytest.raises(DataError, match=r"at least 10 usable rows. Got 9 rows"):
        _assemble(X[:9], Y[:9])
    with pytest.raises(DataError, match="fewer in the class '1' of the target 'y'"):
        _assemble(X, np.array([0] * 39 + [1]))
    with pytest.raises(DataError, match="no row for the validation part"):
        _assemble(X[:10], np.arange(10) % 5)


def test_classes_of_one_row_are_left_out_with_a_warning() -> None:
    words = np.arange(40) % 2
    data = _assemble(X, np.array([0, 5, *([3, 4] * 19)]), words=words)
    assert (data.rows, data.classes, data.class_counts) == (38, ("3", "4"), (19, 19))
    assert data.warnings == ("2 classes of the target with a single row left out: '0', '5'",)
    assert data.split(0).out_features == 2


def test_rows_by_class() -> None:
    assert _assemble(X, np.array([1] * 10 + [0] * 30)).class_counts == (30, 10)
    assert _assemble(X, np.linspace(0, 1, 40)).class_counts == ()


def test_at_most_so_many_rows_are_prepared_with_their_own_statistics() -> None:
    data = _assemble(X, Y)
    whole, some = data.split(0), data.split(0, most=(10, 4, 3))
    assert [len(part.targets) for part in (some.train, some.validation, some.test)] == [10, 4, 3]
    assert torch.equal(whole.train.targets[:10], some.train.targets)
    assert some.train.inputs.mean(0).abs().max() < 1e-6
    assert not torch.equal(
        some.test.targets, data.split(1, most=(10, 4, 3)).test.targets[:3]
    ) or not torch.equal(some.train.inputs, data.split(1, most=(10, 4, 3)).train.inputs)


def test_a_share_of_the_training_rows_leaves_the_others_alone() -> None:
    data = _assemble(X, np.array([0] * 30 + [1] * 10))
    whole, half = data.split(2), data.split(2, train_share=0.5)
    assert len(half.train.targets) == 12
    assert int(half.train.targets.sum()) == 3
    assert torch.equal(whole.test.targets, half.test.targets)
    for share in (0.0, 1.5):
        with pytest.raises(ArgumentError, match="`train_share` must be above 0"):
            data.split(0, train_share=share)
    with pytest.raises(ArgumentError, match="`most` must be three numbers"):
        data.split(0, most=(10, 0, 5))


def test_the_parts_that_every_seed_shares_are_known() -> None:
    def fixed(**dealing: Any) -> str:
        return dataclasses.replace(load("wine"), _dealing=Dealing(178, **dealing)).fixed_parts

    one = np.full(178, -1, dtype=np.int8)
    one[:20] = 2
    two = one.copy()
    two[20:40] = 1
    assert fixed() == "none"
    assert fixed(fixed=one) == "test"
    assert fixed(fixed=two) == fixed(order=np.arange(178.0)) == "all"
