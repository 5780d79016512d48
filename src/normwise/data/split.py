"""Which rows train, which validate, which test: by seed, stratified by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from normwise.data.contents import Rows
from normwise.errors import ArgumentError, DataError, explain

Fractions = tuple[float, float, float]
DEFAULT_FRACTIONS: Fractions = (0.6, 0.2, 0.2)


@dataclass(frozen=True, eq=False)
class SplitRows:
    """Row numbers of the three parts, each in an order shuffled by the seed."""

    train: Rows
    validation: Rows
    test: Rows


def split_rows(
    rows: int,
    labels: npt.NDArray[np.int64] | None,
    seed: int,
    *,
    fractions: Fractions = DEFAULT_FRACTIONS,
    test_from: int | None = None,
) -> SplitRows:
    """Deal rows to train, validation and test.

    With labels each class is dealt on its own, in proportion to `fractions`: a class of three rows or more is
    in every part, a class of two in train and test. Rows from `test_from` on are the test part whatever the
    seed; the others are dealt to train and validation in the ratio of their fractions.

    Args:
        rows: number of rows N.
        labels: (N,) class indices, or None for regression.
        seed: at least 0; the same seed gives the same parts.
        fractions: of train, validation and test; positive, with sum 1.
        test_from: first row of a fixed test part, if there is one.

    Raises:
        ArgumentError: a negative seed, or fractions that are not three positive numbers with sum 1.
        DataError: a part would be empty.

    >>> parts = split_rows(10, None, seed=0)
    >>> len(parts.train), len(parts.validation), len(parts.test)
    (6, 2, 2)
    """
    _check(seed, fractions)
    # The test part of a fixed split takes part in no draw, so its size cannot move the others.
    generator = np.random.default_rng(seed)
    pool = generator.permutation(rows if test_from is None else test_from).astype(np.int64)
    if test_from is not None:
        share = fractions[1] / (fractions[0] + fractions[1])
        fractions = (1 - share, share, 0.0)
    groups = [pool] if labels is None else _by_class(pool, labels)
    dealt = _deal(groups, fractions)
    train, validation, test = (generator.permutation(np.concatenate(part)) for part in dealt)
    if test_from is not None:
        test = np.arange(test_from, rows, dtype=np.int64)
    parts = {"training": train, "validation": validation, "test": test}
    empty = [name for name, part in parts.items() if len(part) == 0]
    if empty:
        raise DataError(
            explain(
                "split",
                "each part must have a row (a class is in all three from 3 rows on)",
                f"no row for the {empty[0]} part out of {rows}",
                "bring more rows a class",
            )
        )
    return SplitRows(train, validation, test)


def _by_class(pool: Rows, labels: npt.NDArray[np.int64]) -> list[Rows]:
    labels = labels[pool]
    order = pool[np.argsort(labels, kind="stable")]
    return [group for group in np.split(order, np.cumsum(np.bincount(labels))[:-1]) if len(group)]


def _deal(groups: list[Rows], fractions: Fractions) -> tuple[list[Rows], list[Rows], list[Rows]]:
    train: list[Rows] = []
    validation: list[Rows] = []
    test: list[Rows] = []
    # Rounding each class alone adds up: with 100 classes of 7 rows, a fifth would become a seventh
    # everywhere. What rounding gave or took is carried to the next class, never more than half a row.
    carry_validation = carry_test = 0.0
    for group in groups:
        size = len(group)
        # With a fixed test part a class of two can afford a validation row.
        room = size - 1 if fractions[2] == 0 else size - 2
        to_validation, carry_validation = _share(size * fractions[1] + carry_validation, room)
        to_test = 0
        if fractions[2] > 0:
            to_test, carry_test = _share(size * fractions[2] + carry_test, size - 1 - to_validation)
        validation.append(group[:to_validation])
        test.append(group[to_validation : to_validation + to_test])
        train.append(group[to_validation + to_test :])
    return train, validation, test


def _share(quota: float, room: int) -> tuple[int, float]:
    if room < 1:
        return 0, 0.0
    whole = min(max(1, int(np.floor(quota + 0.5))), room)
    return whole, min(max(quota - whole, -0.5), 0.5)


def _check(seed: int, fractions: Fractions) -> None:
    if seed < 0:
        raise ArgumentError(explain("split", "`seed` must be at least 0", str(seed)))
    three = len(fractions) == 3 and all(fraction > 0 for fraction in fractions)
    if not three or abs(sum(fractions) - 1) > 1e-6:
        raise ArgumentError(
            explain(
                "split",
                "`fractions` must be three positive numbers (train, validation, test) with sum 1",
                str(fractions),
                "use (0.6, 0.2, 0.2)",
            )
        )
