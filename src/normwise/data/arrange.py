"""What a table says about dealing its rows, and what is to be warned of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from normwise.data.classes import look_alikes, rare_classes
from normwise.data.contents import TableContents
from normwise.data.leaks import giveaways
from normwise.data.split import TEST, free_then_test
from normwise.data.task import Target
from normwise.data.twins import Twins, contradictions, find_twins, joined
from normwise.data.wording import count, listing
from normwise.errors import DataError, explain

_Ints = npt.NDArray[np.int64]

_MANY = 0.02
"""From this share of rows on, equal inputs with different targets are worth a warning."""

_GIANT = 0.5
"""Groups that equal rows would join to more than this share of all rows are left as they are."""


@dataclass(frozen=True, eq=False)
class Key:
    """A column that deals rows: group numbers or times, one a row, and what messages call the groups."""

    name: str
    values: npt.NDArray[np.float64] | _Ints
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Arrangement:
    """`fixed`, `groups` and `order` as `assemble` takes them, notes and warnings."""

    fixed: npt.NDArray[np.int8] | None
    groups: _Ints | None
    order: npt.NDArray[np.float64] | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def arrange(
    table: TableContents,
    target: Target,
    *,
    group: Key | None = None,
    time: Key | None = None,
    test: Path | None = None,
    own: int | None = None,
) -> Arrangement:
    """Find equal rows, columns that give the target away, and what keeps rows together or apart.

    Args:
        table: the inputs.
        target: what is predicted.
        group: the column whose rows stay together.
        time: the column that orders the rows.
        test: where the test rows come from, if they have a table of their own.
        own: how many of the rows are not from there.

    Raises:
        DataError: groups or times that cannot be dealt.
    """
    twins = find_twins(table)
    fixed = None if test is None or own is None else free_then_test(own, table.rows - own)
    notes: list[str] = []
    warnings = [*giveaways(table, target, twins.first), *look_alikes(target), *rare_classes(target)]
    if test is not None and fixed is not None:
        notes.append(
            f"the {count(int((fixed == TEST).sum()), 'row')} of {test.name} are the test part of every split"
        )
        seen = _seen_in_training(twins, fixed)
        if seen:
            said = f"{count(seen, 'row')} of {test.name} {'has' if seen == 1 else 'have'} the inputs of a training row"
            (notes if twins.coarse else warnings).append(said)
    if time is not None:
        notes += _said_of_time(time, fixed, warnings)
    groups = None if group is None else _checked_groups(group, fixed, notes)
    kept = time is None and twins.repeated > 0 and not twins.coarse
    if kept and groups is None:
        groups = twins.inputs
    elif kept and groups is not None:
        wider = joined(groups, twins.inputs)
        # Copies that chain most groups together leave nothing to deal.
        kept = wider.max() >= 2 and bool(np.bincount(wider).max() <= _GIANT * len(wider))
        groups = wider if kept else groups
    if twins.repeated:
        notes.append(_said_of_twins(twins, kept=kept))
    rows, against = contradictions(twins, target)
    if rows:
        few = twins.coarse or rows < _MANY * table.rows
        (notes if few else warnings).append(against)
    order = None if time is None else time.values.astype(np.float64)
    return Arrangement(fixed, groups, order, tuple(notes), tuple(warnings))


def _seen_in_training(twins: Twins, fixed: npt.NDArray[np.int8]) -> int:
    known = np.zeros(len(twins.sizes), dtype=np.bool_)
    known[twins.inputs[fixed != TEST]] = True
    return int(known[twins.inputs[fixed == TEST]].sum())


def _said_of_twins(twins: Twins, kept: bool) -> str:
    said = f"{count(twins.repeated, 'row')} {'has' if twins.repeated == 1 else 'have'} the inputs of an earlier row"
    if kept:
        return f"{said}; equal rows stay in one part of every split"
    if twins.coarse:
        return f"{said} ({len(twins.sizes):,} different inputs in all); equal rows are dealt like all others"
    return said


def _said_of_time(time: Key, fixed: npt.NDArray[np.int8] | None, warnings: list[str]) -> list[str]:
    if fixed is None:
        parts = "the oldest rows train, later ones validate, the newest test"
    else:
        parts = "the oldest rows train, the newest validate"
        own, others = time.values[fixed != TEST], time.values[fixed == TEST]
        if len(others) and others.min() < own.max():
            warnings.append(
                f"by {time.name!r} the test rows begin before the last training row: "
                f"they are no forecast of what comes after it"
            )
    return [f"split by {time.name!r}: {parts}; every seed has the same split"]


def _checked_groups(group: Key, fixed: npt.NDArray[np.int8] | None, notes: list[str]) -> _Ints:
    groups = group.values.astype(np.int64)
    number = len(np.unique(groups))
    if fixed is not None:
        both = np.intersect1d(groups[fixed != TEST], groups[fixed == TEST])
        if len(both):
            names = listing([group.labels[index] if index < len(group.labels) else "" for index in both])
            raise DataError(
                explain(
                    "load",
                    f"a group of {group.name!r} must be in the table or in the test table, not in both",
                    f"{count(len(both), 'group')} in both: {names}",
                    "leave `group` away, or move these rows",
                )
            )
    if (number < 3 and fixed is None) or number < 2:
        raise DataError(
            explain(
                "load",
                f"{group.name!r} must have at least three groups, one for each part of a split",
                count(number, "group"),
                "name another column, or none",
            )
        )
    own = ", one a row" if number == len(groups) else ""
    notes.append(
        f"rows with the same {group.name!r} stay in one part ({count(number, 'group')}{own}); it is no input"
    )
    return groups
