"""Which column plays which part: target, groups, time, dropped; columns found by name."""

from __future__ import annotations

import difflib
import shlex
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from normwise.data.contents import TableContents
from normwise.data.wording import listing
from normwise.errors import ArgumentError, DataError, UnknownNameError, explain

MOST_LISTED = 20

_LIKELY_TARGETS = (
    *("target", "label", "y", "class", "labels", "outcome", "标签", "目标", "类别", "结果"),
    *("survived", "churn", "churned", "exited", "default", "fraud", "diagnosis", "species", "quality"),
    *("saleprice", "price", "是否流失", "是否违约", "房价", "价格"),
)


@dataclass(frozen=True)
class Roles:
    """The columns of a table by their part; every other column is an input."""

    target: str
    drop: tuple[str, ...] = ()
    group: str | None = None
    time: str | None = None


def find_roles(
    path: Path,
    columns: Sequence[str],
    *,
    target: str | None,
    drop: Iterable[str],
    group: str | None,
    time: str | None,
) -> Roles:
    """Find the columns that are named, and refuse parts that contradict each other.

    Raises:
        UnknownNameError: no such column.
        DataError: no target named.
        ArgumentError: one column for two parts, or groups and time together.
    """
    if target is None:
        raise DataError(_no_target(path, columns))
    roles = Roles(
        find_column(f"target column of {path}", target, columns),
        tuple(dict.fromkeys(find_column(f"column to drop of {path}", name, columns) for name in drop)),
        None if group is None else find_column(f"group column of {path}", group, columns),
        None if time is None else find_column(f"time column of {path}", time, columns),
    )
    if roles.target in roles.drop:
        got, hint = f"--drop {shlex.quote(roles.target)}", "drop other columns"
        raise ArgumentError(explain("load", "the target cannot be dropped", got, hint))
    for option, name in (("group", roles.group), ("time", roles.time)):
        if name == roles.target:
            got = f"--{option} {shlex.quote(roles.target)}"
            raise ArgumentError(
                explain(
                    "load", f"`{option}` must be another column than the target", got, "name another column"
                )
            )
    if roles.group is not None and roles.time is not None:
        raise ArgumentError(
            explain(
                "load",
                "rows are split by group or by time, not by both",
                f"--group {shlex.quote(roles.group)} --time {shlex.quote(roles.time)}",
                "use the one that the predictions will meet: new groups, or later times",
            )
        )
    return roles


def find_column(what: str, name: str, columns: Sequence[str]) -> str:
    """Return the column of that name, written in any Unicode form and with or without blanks around it.

    Raises:
        UnknownNameError: no such column; near ones and the first 20 are named.
    """
    if name in columns:
        return name
    plain = {_plain(column): column for column in reversed(columns)}
    if _plain(name) in plain:
        return plain[_plain(name)]
    folded = {_plain(column).casefold(): column for column in reversed(columns)}
    wanted = _plain(name).casefold()
    near = [wanted] if wanted in folded else difflib.get_close_matches(wanted, folded, n=3, cutoff=0.5)
    guess = f" Did you mean {' or '.join(repr(folded[found]) for found in near)}?" if near else ""
    known = ", ".join(sorted(columns)[:MOST_LISTED])
    more = f" and {len(columns) - MOST_LISTED:,} more" if len(columns) > MOST_LISTED else ""
    # Names that are mostly numbers or empty are a first row.
    bare = not guess and 2 * sum(map(_is_value, columns)) >= len(columns)
    hint = " hint: these look like values; add a header line." if bare else ""
    raise UnknownNameError(f"load: unknown {what} {name!r}.{guess} Known: {known}{more}.{hint}")


def without(contents: TableContents, drop: Iterable[str], where: str) -> TableContents:
    """The contents without some columns.

    Raises:
        UnknownNameError: no such column.
        DataError: no column is left.
    """
    every = (*contents.names, *(column.name for column in contents.categorical))
    gone = {find_column(f"column to drop of {where}", name, every) for name in drop}
    if not gone:
        return contents
    if len(gone) == len(every):
        raise DataError(
            explain("load", f"{where} must have an input column", "all of them dropped", "drop fewer")
        )
    kept = np.array([name not in gone for name in contents.names], dtype=bool)
    names = tuple(name for name in contents.names if name not in gone)
    words = tuple(column for column in contents.categorical if column.name not in gone)
    return TableContents(names, contents.numeric[:, kept], words)


def _is_value(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def _plain(name: str) -> str:
    return unicodedata.normalize("NFKC", name).strip()


def _no_target(path: Path, columns: Sequence[str]) -> str:
    lowered = {name.lower(): name for name in reversed(columns)}
    guess = next((lowered[name] for name in _LIKELY_TARGETS if name in lowered), columns[-1])
    return explain(
        "load",
        f"a table needs the name of the column to predict; {path} has {listing(columns, limit=30)}",
        "no target",
        f"for example --target {shlex.quote(guess)}",
    )
