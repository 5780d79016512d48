"""Which rows train, which validate, which test: by seed, by class, by group, by time, or as the data lays down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from normwise.data.contents import Rows
from normwise.data.deal import deal_groups, deal_in_order, deal_rows
from normwise.data.wording import count
from normwise.errors import ArgumentError, DataError, explain

Fractions = tuple[float, float, float]
DEFAULT_FRACTIONS: Fractions = (0.6, 0.2, 0.2)

FREE, TRAIN, VALIDATION, TEST = -1, 0, 1, 2
"""What `Dealing.fixed` says of a row."""

_NAMES = ("training", "validation", "test")


@dataclass(frozen=True, eq=False)
class Dealing:
    """What the data says about dealing its N rows.

    Attributes:
        rows: number of rows N.
        labels: (N,) class indices, each class to be in every part; None for regression.
        fixed: (N,) −1 for a row that the seed deals, 0 for one that always trains, 1 for one that always
            validates, 2 for one that always tests; None where every row is free. Free rows are not added to a
            validation or test part that has fixed rows.
        groups: (N,) group indices 0, 1, …; free rows of one group stay in one part. None without groups.
        order: (N,) finite numbers, such as times: the free rows train where it is least and test where it is
            greatest, whatever the seed. Labels and groups have no say then. None without an order.
    """

    rows: int
    labels: npt.NDArray[np.int64] | None = None
    fixed: npt.NDArray[np.int8] | None = None
    groups: npt.NDArray[np.int64] | None = None
    order: npt.NDArray[np.float64] | None = None


def free_then_test(free: int, test: int) -> npt.NDArray[np.int8]:
    """`Dealing.fixed` of data whose last `test` rows are the test part, the others free.

    >>> free_then_test(2, 1).tolist()
    [-1, -1, 2]
    """
    return np.repeat(np.array([FREE, TEST], dtype=np.int8), [free, test])


@dataclass(frozen=True, eq=False)
class SplitRows:
    """Row numbers of the three parts, each in an order shuffled by the seed."""

    train: Rows
    validation: Rows
    test: Rows


def split_rows(dealing: Dealing, seed: int, *, fractions: Fractions = DEFAULT_FRACTIONS) -> SplitRows:
    """Deal rows to train, validation and test.

    With labels each class is dealt on its own, in proportion to `fractions`: a class of three rows (or
    groups) or more is in every part, a class of two in train and test. Free rows go to the parts that have
    no fixed rows (and to train in any case) in the ratio of their fractions.

    Args:
        dealing: what the data says about it.
        seed: at least 0; the same seed gives the same parts.
        fractions: of train, validation and test; positive, with sum 1.

    Raises:
        ArgumentError: a negative seed, or fractions that are not three positive numbers with sum 1.
        DataError: a part would be empty.

    >>> parts = split_rows(Dealing(10), seed=0)
    >>> len(parts.train), len(parts.validation), len(parts.test)
    (6, 2, 2)
    """
    _check(seed, fractions)
    generator = np.random.default_rng(seed)
    free, fixed = _fixed_rows(dealing)
    shares = _shares(fractions, fixed)
    if dealing.order is not None:
        dealt = deal_in_order(free, dealing.order[free], shares)
    elif dealing.groups is not None:
        dealt = deal_groups(generator, free, dealing.groups, dealing.labels, shares)
    else:
        dealt = deal_rows(generator.permutation(free), dealing.labels, shares)
    # A fixed test part is drawn last, so that its size cannot move the others.
    parts = [generator.permutation(np.concatenate(pair)) for pair in zip(dealt, fixed, strict=True)]
    empty = [name for name, part in zip(_NAMES, parts, strict=True) if len(part) == 0]
    if empty:
        raise DataError(_empty(empty[0], dealing))
    return SplitRows(*parts)


def take(
    rows: SplitRows,
    labels: npt.NDArray[np.int64] | None,
    *,
    most: tuple[int, int, int] | None = None,
    train_share: float = 1.0,
) -> SplitRows:
    """Keep at most so many rows of each part, and then a share of the training rows.

    Rows are taken from the front of each part's random order, so that other seeds take other rows and a
    smaller share is contained in a larger one. A share takes of each class in proportion, at least one row.

    Raises:
        ArgumentError: `most` that are not three numbers from 1 on, a share outside (0, 1].

    >>> parts = take(split_rows(Dealing(100), seed=0), None, most=(40, 10, 5), train_share=0.5)
    >>> len(parts.train), len(parts.validation), len(parts.test)
    (20, 10, 5)
    """
    if most is not None and (len(most) != 3 or min(most) < 1):
        must = "`most` must be three numbers from 1 on (rows of train, validation, test)"
        raise ArgumentError(explain("split", must, str(most), "use (16000, 4096, 16384), or None"))
    if not 0 < train_share <= 1:
        must = "`train_share` must be above 0 and at most 1"
        raise ArgumentError(explain("split", must, str(train_share), "use 0.25 for a quarter"))
    train, validation, test = rows.train, rows.validation, rows.test
    if most is not None:
        train, validation, test = train[: most[0]], validation[: most[1]], test[: most[2]]
    if train_share < 1:
        codes = np.zeros(len(train), dtype=np.int64) if labels is None else labels[train]
        train = train[_first_of_each(codes, train_share)]
    return SplitRows(train, validation, test)


def _first_of_each(codes: npt.NDArray[np.int64], share: float) -> npt.NDArray[np.bool_]:
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes)
    position = np.empty(len(codes), dtype=np.int64)
    position[order] = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    wanted = np.maximum(1, np.rint(counts * share))
    kept: npt.NDArray[np.bool_] = position < wanted[codes]
    return kept


def _fixed_rows(dealing: Dealing) -> tuple[Rows, list[Rows]]:
    if dealing.fixed is None:
        return np.arange(dealing.rows, dtype=np.int64), [np.empty(0, dtype=np.int64)] * 3
    parts = [np.flatnonzero(dealing.fixed == part) for part in (FREE, TRAIN, VALIDATION, TEST)]
    return parts[0], parts[1:]


def _shares(fractions: Fractions, fixed: list[Rows]) -> Fractions:
    """Fractions of the free rows alone."""
    train = fractions[0]
    validation = 0.0 if len(fixed[VALIDATION]) else fractions[1]
    test = 0.0 if len(fixed[TEST]) else fractions[2]
    whole = train + validation + test
    return train / whole, validation / whole, test / whole


def _empty(part: str, dealing: Dealing) -> str:
    got = f"no row for the {part} part out of {dealing.rows:,}"
    if dealing.groups is not None:
        groups = count(len(np.unique(dealing.groups)), "group")
        must = "each part must have a row, and rows of one group (or with equal inputs) stay in one part"
        return explain("split", must, f"{got} in {groups}", "bring more groups")
    if dealing.order is not None:
        must = "each part must have a row, and rows of one time stay in one part"
        return explain("split", must, got, "bring rows of three times or more")
    must = "each part must have a row (a class is in all three from 3 rows on)"
    return explain("split", must, got, "bring more rows a class")


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
