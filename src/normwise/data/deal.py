"""Ways to deal free rows to three parts: row by row, group by group, in an order.

Index convention: U units, which are groups of rows that stay together; K classes; parts 0 train, 1
validation, 2 test.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from normwise.data.contents import Rows

Shares = tuple[float, float, float]
Parts = list[Rows]

_Ints = npt.NDArray[np.int64]

FEW_UNITS = 1000
"""Up to so many groups of two rows or more on average are drawn several times, and the best draw is kept."""

_DRAWS = 64
_UNITS_A_DRAW = 5


def deal_rows(pool: Rows, labels: _Ints | None, shares: Shares) -> Parts:
    """Deal rows from the front of `pool`, each class on its own where there are `labels` (of all rows)."""
    parts = _stratified(len(pool), None, None if labels is None else labels[pool], shares)
    return [pool[parts == part] for part in range(3)]


def deal_groups(
    generator: np.random.Generator, free: Rows, groups: _Ints, labels: _Ints | None, shares: Shares
) -> Parts:
    """Deal the rows `free` so that rows of one group stay in one part.

    A group of mixed classes counts for its rarest one. A few large groups do not divide evenly, least of all
    for each class: then one deal is drawn for every five groups and the one nearest to the shares in all
    classes is kept (the best of many would be the same for every seed); up to 64 while a class misses a part.

    Args:
        generator: where the draws come from.
        free: the rows to deal.
        groups: (N,) group of every row.
        labels: (N,) class of every row, or None.
        shares: of train, validation and test.
    """
    unit_of, units = _compact(groups[free])
    classes = None if labels is None else labels[free]
    if units <= FEW_UNITS and len(free) > 2 * units:
        unit_parts = _best_draw(generator, unit_of, units, classes, shares)
    else:
        order = generator.permutation(units)
        sizes = np.bincount(unit_of, minlength=units)
        rarest = None if classes is None else _rarest(unit_of, units, classes)[order]
        unit_parts = np.empty(units, dtype=np.int8)
        unit_parts[order] = _stratified(units, sizes[order], rarest, shares)
    parts = unit_parts[unit_of]
    return [free[parts == part] for part in range(3)]


def deal_in_order(free: Rows, order: npt.NDArray[np.float64], shares: Shares) -> Parts:
    """Deal the rows `free` by their `order`: the least to train, then validation, the greatest to test.

    Rows of equal order stay together: a cut goes to the change of order nearest to where it belongs, and
    where there are too few changes a part stays empty.
    """
    by_order = np.argsort(order, kind="stable")
    changes = np.flatnonzero(np.diff(order[by_order])) + 1
    filled = [part for part in range(3) if shares[part] > 0]
    goals = np.cumsum([shares[part] for part in filled])[:-1] * len(free)
    cuts: list[int] = []
    for index, goal in enumerate(goals):
        # Each later cut needs a change of its own.
        possible = changes[: len(changes) - (len(goals) - 1 - index)]
        possible = possible[possible > (cuts[-1] if cuts else 0)]
        cuts.append(int(possible[np.argmin(np.abs(possible - goal))]) if len(possible) else len(free))
    parts = [free[:0]] * 3
    for part, piece in zip(filled, np.split(by_order, cuts), strict=True):
        parts[part] = free[piece]
    return parts


def _stratified(
    units: int, sizes: _Ints | None, classes: _Ints | None, shares: Shares
) -> npt.NDArray[np.int8]:
    """The part of each of U units in random order: of each class the first validate, the next test."""
    if classes is None:
        strata = [np.arange(units)] if units else []
    else:
        # Radix sort, ten times faster than sorting 64-bit numbers.
        narrow = classes.astype(np.uint16) if classes.max(initial=0) < 2**16 else classes
        bounds = np.cumsum(np.bincount(classes))[:-1]
        strata = [s for s in np.split(np.argsort(narrow, kind="stable"), bounds) if len(s)]
    parts = np.zeros(units, dtype=np.int8)
    # Rounding each class alone adds up: with 100 classes of 7 rows, a fifth would become a seventh
    # everywhere. What rounding gave or took is carried to the next class, never more than half a row.
    carry = [0.0, 0.0]
    for stratum in strata:
        weights = None if sizes is None else sizes[stratum]
        parts[stratum] = _cut(len(stratum), weights, shares, carry)
    return parts


def _cut(units: int, sizes: _Ints | None, shares: Shares, carry: list[float]) -> npt.NDArray[np.int8]:
    """Parts of the units of one class; `carry` is brought up to date."""
    ends = np.arange(1, units + 1) if sizes is None else np.cumsum(sizes)
    total = float(ends[-1])
    parts = np.zeros(units, dtype=np.int8)
    taken = 0
    for part in (1, 2):
        if shares[part] == 0:
            continue
        # One unit is for train, and one for a test part that is yet to be dealt.
        room = units - taken - (2 if part == 1 and shares[2] > 0 else 1)
        if room < 1:
            carry[part - 1] = 0.0
            continue
        start = float(ends[taken - 1]) if taken else 0.0
        quota = total * shares[part] + carry[part - 1]
        number = min(max(1, _units_for(ends, sizes, start + quota) - taken), room)
        parts[taken : taken + number] = part
        taken += number
        carry[part - 1] = min(max(quota - (float(ends[taken - 1]) - start), -0.5), 0.5)
    return parts


def _units_for(ends: _Ints, sizes: _Ints | None, goal: float) -> int:
    """How many units from the front come nearest to `goal` rows."""
    if sizes is None:
        return int(np.floor(goal + 0.5))
    middles = ends - sizes / 2
    return int(np.searchsorted(middles, goal, side="right"))


def _best_draw(
    generator: np.random.Generator, unit_of: _Ints, units: int, classes: _Ints | None, shares: Shares
) -> npt.NDArray[np.int8]:
    codes = np.zeros(len(unit_of), dtype=np.int64) if classes is None else classes
    width = int(codes.max()) + 1
    table = np.bincount(unit_of * width + codes, minlength=units * width).reshape(units, width)
    sizes = table.sum(axis=1)
    best, least = np.zeros(units, dtype=np.int8), (np.inf, np.inf)
    for draw in range(_DRAWS):
        order = generator.permutation(units)
        parts = np.empty(units, dtype=np.int8)
        parts[order] = _cut(units, sizes[order], shares, [0.0, 0.0])
        badness = _badness(parts, table, shares)
        if badness < least:
            best, least = parts, badness
        if least[0] == 0 and draw >= units // _UNITS_A_DRAW:
            break
    return best


def _badness(parts: npt.NDArray[np.int8], table: _Ints, shares: Shares) -> tuple[float, float]:
    """Classes that miss a part, training above all; then the share of rows too many or too few over all
    classes and parts."""
    total = table.sum(axis=0)
    missing = away = 0.0
    for part, share in enumerate(shares):
        have = table[parts == part].sum(axis=0)
        away += float(np.abs(have - share * total).sum()) / float(total.sum())
        if share > 0:
            missing += (4 if part == 0 else 1) * int(((have == 0) & (total > 0)).sum())
    return missing, away


def _compact(groups: _Ints) -> tuple[_Ints, int]:
    """Groups numbered without gaps, in the order of their numbers, and how many there are."""
    present = np.bincount(groups) > 0
    units = int(present.sum())
    if units == len(present):
        return groups, units
    return (np.cumsum(present) - 1)[groups], units


def _rarest(unit_of: _Ints, units: int, classes: _Ints) -> _Ints:
    counts = np.bincount(classes)
    by_count = np.argsort(counts, kind="stable")
    rank = np.empty(len(counts), dtype=np.int64)
    rank[by_count] = np.arange(len(counts))
    least = np.full(units, len(counts), dtype=np.int64)
    np.minimum.at(least, unit_of, rank[classes])
    return by_count[least]
