"""Files that are the same, byte for byte."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from normwise.data.image_files import Names, written
from normwise.data.split import TEST, VALIDATION
from normwise.data.wording import count


def twins(paths: Sequence[Path], sizes: Sequence[int]) -> list[list[int]]:
    """Positions of files with equal content, each group ascending; only files of equal size are read."""
    found: list[list[int]] = []
    for same_size in _grouped(sizes):
        digests = [_digest(paths[position]) for position in same_size]
        found += [[same_size[index] for index in same] for same in _grouped(digests)]
    return sorted(found)


def _grouped(keys: Sequence[object]) -> list[list[int]]:
    groups: dict[object, list[int]] = {}
    for position, key in enumerate(keys):
        groups.setdefault(key, []).append(position)
    return [group for group in groups.values() if len(group) > 1]


def _digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return os.fsencode(path)  # gone in the meantime: equal to nothing


def group_indices(found: Sequence[Sequence[int]], rows: int) -> npt.NDArray[np.int64] | None:
    """`Dealing.groups` that keep equal files in one part; None where no two are equal.

    >>> group_indices([[0, 2]], 4).tolist()
    [0, 1, 0, 2]
    """
    if not found:
        return None
    first = np.arange(rows, dtype=np.int64)
    for group in found:
        first[list(group)] = group[0]
    return np.unique(first, return_inverse=True)[1].astype(np.int64)


def twin_words(
    found: Sequence[Sequence[int]],
    images: Sequence[Names],
    labels: npt.NDArray[np.generic],
    fixed: npt.NDArray[np.int8] | None,
) -> tuple[list[str], list[str]]:
    """Notes and warnings on equal files: kept together; with different labels; in two parts that are laid down."""
    notes, warnings = [], []
    if found:
        copies = sum(map(len, found)) - len(found)
        notes.append(
            f"{count(copies, 'file')} equal to another, byte for byte; equal files stay in one part"
            + (" where they are free to" if fixed is not None else "")
        )
    parts = np.zeros(len(labels), dtype=np.int8) if fixed is None else np.where(fixed < 0, 0, fixed)
    torn = [group for group in found if len({labels[row] for row in group}) > 1]
    if torn:
        warnings.append(
            f"{count(len(torn), 'image is', 'images are')} there under different labels, {_example(torn, images)}: "
            "one of them is wrong"
        )
    for part, name in ((TEST, "test"), (VALIDATION, "validation")):
        leaked = [group for group in found if len({bool(parts[row] == part) for row in group}) > 1]
        if leaked:
            warnings.append(
                f"{count(len(leaked), 'image is', 'images are')} both in {name} and in another part, "
                f"{_example(leaked, images)}: scores on {name} flatter networks that remember"
            )
    return notes, warnings


def _example(groups: Sequence[Sequence[int]], images: Sequence[Names]) -> str:
    first, second = written(images[row] for row in groups[0][:2])
    return f"such as {first!r} and {second!r}"
