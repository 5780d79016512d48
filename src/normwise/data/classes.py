"""Classes that cannot be learned: refused where they should not be, left out where found data has them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from normwise.data.split import TEST, VALIDATION
from normwise.data.task import Target
from normwise.data.wording import count, listing
from normwise.errors import DataError, explain

FEWEST = 2
"""Rows that a class needs: one to train on and one to test on."""

FEW = 10
"""Of a class with fewer rows one or two are tested on."""


def without_lonely(target: Target) -> tuple[Target, npt.NDArray[np.bool_] | None, str]:
    """Leave classes of a single row out, if two or more classes remain.

    Returns:
        The target of the rows that stay, which rows these are (None for all), and a warning.

    Raises:
        DataError: fewer than two classes would remain.
    """
    if target.task != "classification":
        return target, None, ""
    labels = target.values.astype(np.int64)
    counts = np.bincount(labels, minlength=len(target.classes))
    large = counts >= FEWEST
    if large.all():
        return target, None, ""
    lonely = [name for name, stays in zip(target.classes, large, strict=True) if not stays]
    if large.sum() < 2:
        which = "class" if len(lonely) == 1 else "classes"
        raise DataError(
            explain(
                "load",
                "every class must have at least 2 rows, one to train on and one to test on",
                f"fewer in the {which} {listing(lonely)} of the target {target.name!r}",
                "remove or merge such classes, bring more rows of them, or choose another target or task",
            )
        )
    kept = large[labels]
    codes = np.cumsum(large) - 1
    classes = tuple(name for name, stays in zip(target.classes, large, strict=True) if stays)
    smaller = Target(target.name, target.task, target.reason, codes[labels[kept]], classes)
    single = count(len(lonely), "class", "classes")
    return smaller, kept, f"{single} of the target with a single row left out: {listing(lonely)}"


def rare_classes(target: Target) -> tuple[str, ...]:
    """Warn of classes with so few rows that no metric tells how well they are predicted."""
    if target.task != "classification":
        return ()
    counts = np.bincount(target.values.astype(np.int64), minlength=len(target.classes))
    rare = [index for index in np.argsort(counts, kind="stable") if FEWEST <= counts[index] < FEW]
    if not rare:
        return ()
    shown = ", ".join(f"{target.classes[index]!r} ({counts[index]})" for index in rare[:3])
    more = f" and {len(rare) - 3:,} more" if len(rare) > 3 else ""
    which = count(len(rare), "class", "classes")
    verb = "has" if len(rare) == 1 else "have"
    said = f"{which} of the target {verb} fewer than {FEW} rows: {shown}{more}"
    return (f"{said}, too few to tell how well they are predicted",)


def look_alikes(target: Target) -> tuple[str, ...]:
    """Warn of classes that upper and lower case or blanks alone tell apart, as "Yes" and "yes"."""
    alike: dict[str, list[str]] = {}
    for name in target.classes:
        alike.setdefault("".join(name.casefold().split()), []).append(name)
    found = [" and ".join(map(repr, names)) for names in alike.values() if len(names) > 1]
    if not found:
        return ()
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return (f"classes that look alike are taken for different ones: {', '.join(found[:3])}{more}",)


def check_taught(target: Target, fixed: npt.NDArray[np.int8] | None) -> None:
    """Refuse classes that a fixed validation or test part has and no training row.

    Raises:
        DataError: such a class.
    """
    if fixed is None or target.task != "classification":
        return
    labels = target.values.astype(np.int64)
    taught = np.bincount(labels[(fixed != VALIDATION) & (fixed != TEST)], minlength=len(target.classes))
    unlearned = [target.classes[index] for index in np.flatnonzero(taught == 0)]
    if unlearned:
        which = f"{'class' if len(unlearned) == 1 else 'classes'} {listing(unlearned)}"
        raise DataError(
            explain(
                "load",
                "every class of the fixed validation and test parts must have training rows",
                f"none for the {which} of the target {target.name!r}",
                "remove these rows from validation and test",
            )
        )
