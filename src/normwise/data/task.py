"""Classification or regression: told from the target, and said why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from normwise.data.wording import count, natural_key
from normwise.errors import DataError, explain, unknown_name

Task = Literal["classification", "regression"]

FEW = 20
"""Integers of at most this many distinct values are classes."""

FEWEST_FOR_CLASSES = 10
"""From so many rows on, classes of one row each are no classes."""

LARGEST = 1e30
"""Beyond it a number cannot be standardised: its square overflows float32."""


@dataclass(frozen=True, eq=False)
class Target:
    """What is to be predicted: class indices (int64) or numbers (float64), one a row."""

    name: str
    task: Task
    reason: str
    values: npt.NDArray[np.int64] | npt.NDArray[np.float64]
    classes: tuple[str, ...]


def checked_task(task: str | None) -> Task | None:
    """Return `task` as a `Task`, or raise `UnknownNameError`."""
    if task is not None and task not in get_args(Task):
        raise unknown_name("load", "task", task, get_args(Task))
    return cast("Task | None", task)


def labelled(
    name: str, codes: npt.NDArray[np.generic], classes: tuple[str, ...], reason: str, task: Task | None
) -> Target:
    """The target of data that is labelled with classes by its very form (folders, label files)."""
    if task == "regression":
        raise DataError(
            explain(
                "load",
                "`task` must fit the target, and this target is a label",
                f"task='regression' and {count(len(classes), 'class', 'classes')}",
                "leave `task` away",
            )
        )
    return Target(name, "classification", reason, codes.astype(np.int64), classes)


def read_target(
    name: str,
    values: npt.NDArray[np.generic],
    *,
    task: Task | None,
    images: bool = False,
    row_name: Callable[[int], str] | None = None,
) -> Target:
    """Decide the task from the values of a target without missing ones, and bring them into form.

    The rule: words and booleans are classes. Numbers with a fraction are a quantity (regression). Integers
    are classes if they take at most 20 distinct values, and beside images also if they are exactly 0 … K−1
    with K ≤ 1000 and five rows a class; otherwise they are a quantity. `task` overrides the rule.

    Args:
        name: what the target is called, for messages.
        values: (N,) booleans, integers, floats or strings.
        task: the task asked for, if any.
        images: whether the inputs are images.
        row_name: what messages call a row; row 1, row 2, … by default.

    Raises:
        DataError: a single value; values that are not finite; words where regression was asked for.

    >>> target = read_target("y", np.array([3, 1, 3, 2]), task=None)
    >>> target.task, target.classes, target.values, target.reason
    ('classification', ('1', '2', '3'), array([2, 0, 2, 1]), 'told from the target: 3 distinct integers')
    """
    if values.dtype.kind in "bUSO":
        return _read_words(name, values, task)
    numbers = values.astype(np.float64)
    _check_finite(name, numbers, row_name)
    distinct = np.unique(numbers)
    _check_varies(name, len(distinct), f"{distinct[0]:.15g}" if len(distinct) else "no value")
    whole = bool(np.all(distinct == np.rint(distinct)))
    kind = "integers" if whole else "numbers with fractions"
    found = f"{len(distinct):,} distinct {kind}"
    decided = task or ("classification" if whole and _few(numbers, distinct, images) else "regression")
    reason = f"as asked ({found})" if task else f"told from the target: {found}"
    if decided == "regression":
        return Target(name, decided, reason, numbers, ())
    _check_classes_repeat(name, len(distinct), len(numbers), kind, [f"{value:g}" for value in distinct[:2]])
    names = tuple(str(int(value)) if whole else repr(value) for value in distinct.tolist())
    return Target(name, decided, reason, np.searchsorted(distinct, numbers).astype(np.int64), names)


def _few(numbers: npt.NDArray[np.float64], distinct: npt.NDArray[np.float64], images: bool) -> bool:
    if len(distinct) <= FEW:
        return True
    consecutive = distinct[0] == 0 and distinct[-1] == len(distinct) - 1 and len(distinct) <= 1000
    return images and bool(consecutive) and bool(np.bincount(numbers.astype(np.int64)).min() >= 5)


def _read_words(name: str, values: npt.NDArray[np.generic], task: Task | None) -> Target:
    kind = "booleans" if values.dtype.kind == "b" else "words"
    if values.dtype.kind == "S":
        values = np.char.decode(values.astype(np.bytes_), "utf-8", "replace")
    if task == "regression" and kind == "words":
        raise DataError(
            explain(
                "load",
                f"the target {name!r} must be numbers for task='regression'",
                f"words such as {str(values[0])!r}",
                "leave `task` away, or clean the column",
            )
        )
    distinct, codes = np.unique(values.astype(np.str_), return_inverse=True)
    _check_varies(name, len(distinct), repr(str(distinct[0])) if len(distinct) else "no value")
    found = f"{len(distinct):,} distinct {kind}"
    if task == "regression":
        return Target(name, task, f"as asked ({found})", values.astype(np.float64), ())
    _check_classes_repeat(name, len(distinct), len(values), kind, [str(word) for word in distinct[:2]])
    order = sorted(range(len(distinct)), key=lambda index: natural_key(str(distinct[index])))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    classes = tuple(str(distinct[index]) for index in order)
    reason = f"as asked ({found})" if task else f"told from the target: {found}"
    return Target(name, "classification", reason, rank[codes], classes)


def _check_classes_repeat(name: str, distinct: int, rows: int, kind: str, shown: list[str]) -> None:
    """Refuse classes that hardly any two rows share."""
    if distinct > max(FEW, rows // 2) or (rows >= FEWEST_FOR_CLASSES and distinct == rows):
        raise DataError(
            explain(
                "load",
                f"the target {name!r} must have several rows a class",
                f"{distinct:,} distinct {kind} in {count(rows, 'row')} ({', '.join(map(repr, shown))}, …)",
                "it looks like an identifier or free text; choose another column",
            )
        )


def _check_finite(name: str, numbers: npt.NDArray[np.float64], row_name: Callable[[int], str] | None) -> None:
    # Written so that NaN fails the comparison too.
    bad = ~(np.abs(numbers) <= LARGEST)
    if bad.any():
        first = int(np.argmax(bad))
        row = f"row {first + 1:,}" if row_name is None else row_name(first)
        raise DataError(
            explain(
                "load",
                f"the target {name!r} must be finite numbers within ±{LARGEST:g}",
                f"{count(int(bad.sum()), 'other value')}, the first one {numbers[first]} in {row}",
                "remove or repair these rows",
            )
        )


def _check_varies(name: str, distinct: int, only: str) -> None:
    if distinct < 2:
        raise DataError(
            explain(
                "load",
                f"the target {name!r} must take at least two values",
                f"{only} in every row",
                "choose another target",
            )
        )
