"""A folder of images as it was found: class folders, parts dealt already, or a table of labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from normwise.data.classes import look_alikes, rare_classes
from normwise.data.contents import ImageContents
from normwise.data.dataset import Dataset, assemble
from normwise.data.image_decode import Broken, Progress, decode
from normwise.data.image_files import Contents, Names, look, written
from normwise.data.image_labels import other_labels, read_labels
from normwise.data.image_layout import part_words, read_layout
from normwise.data.image_twins import group_indices, twin_words
from normwise.data.split import TEST, VALIDATION
from normwise.data.task import Target, Task
from normwise.data.wording import count, listing
from normwise.errors import ArgumentError, DataError, explain

LARGEST_SIDE = 1024

MOST_BROKEN = 0.1
"""The share of files that may be unreadable; more is a fault of the folder, not of some files."""

FEWEST_WHOLE = 10
"""So many images a class that loses some must keep."""

_NAMED = 5


def load_images(
    folder: Path,
    *,
    task: Task | None,
    image_size: int | None = None,
    target: str | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Read a folder of images, of any mode and size.

    Layouts: a sub-folder a class, images anywhere below it; the same within train, val and test folders, which
    then are the parts of every split; a CSV of file names and labels beside the images.

    All images take the commonest mode (grey or colour) and the commonest size, or the median one where sizes
    differ throughout, upright by their EXIF orientation; the longer side is at most 64, or `image_size` if that is
    given. Images of clearly other proportions are fitted and padded. Transparency is laid over white; of
    animations the first picture counts; deeper images than 8 bits share one scale.

    Few files that cannot be read are left out and named in `Dataset.warnings`. Decoded pixels are cached
    (`normwise.data.cache`); with or without the cache the data set is the same.

    Args:
        folder: the folder.
        task: the task asked for, if any.
        image_size: longer side in pixels, 1 to 1024.
        target: the column of the table with the labels, if class folders are not what is meant.
        progress: called with the number of images decoded and of all, where decoding is needed.

    Raises:
        ArgumentError: an `image_size` outside 1 … 1024; a `target` and no table.
        DataError: a layout that cannot be understood, a single class, more than a tenth of the files or all but
            10 of a class unreadable, more than 4 GiB in all.
        UnknownNameError: the table has no column called `target`.
    """
    if image_size is not None and not 1 <= image_size <= LARGEST_SIDE:
        raise ArgumentError(
            explain("load", f"`image_size` must be 1 to {LARGEST_SIDE} pixels", str(image_size))
        )
    contents = look(folder)
    warnings = _unread(contents)
    layout = read_labels(folder, contents, target=target, task=task)
    if layout is None:
        layout = read_layout(folder, contents, task)
        labels = [layout.target.classes[code] for code in layout.target.values.astype(np.int64)]
        warnings += [*layout.warnings, *other_labels(folder, contents, layout.images, labels)]

    def bearable(broken: Broken) -> None:
        _check_broken(folder, broken, layout.images, layout.target)

    pictures = decode(folder, layout.images, image_size, bearable=bearable, progress=progress)
    whole = np.array([row for row in range(len(layout.images)) if row not in pictures.broken], dtype=np.int64)
    images = [layout.images[row] for row in whole]
    decided = replace(layout.target, values=layout.target.values[whole])
    fixed = None if layout.fixed is None else layout.fixed[whole]
    place = {int(row): index for index, row in enumerate(whole)}
    same = [[place[row] for row in group] for group in pictures.twins]
    notes, doubts = twin_words(same, images, decided.values, fixed)
    return assemble(
        name=folder.resolve().name,
        source=str(folder),
        kind="image",
        contents=ImageContents(pictures.pixels),
        target=decided,
        notes=(*part_words(fixed, layout.dealer), *layout.notes, *pictures.notes, *notes),
        warnings=(
            *doubts,
            *_left_out(pictures.broken, layout.images),
            *pictures.warnings,
            *warnings,
            *look_alikes(decided),
            *rare_classes(decided),
            *_not_measured(decided, fixed),
        ),
        fixed=fixed,
        groups=group_indices(same, len(images)),
    )


def _check_broken(folder: Path, broken: Broken, images: Sequence[Names], target: Target) -> None:
    """Raise unless the files that cannot be read are few, and none of their classes is left with few."""
    if not broken:
        return
    kept = Counter(value for row, value in enumerate(target.values.tolist()) if row not in broken)
    hurt = {target.values[row].item() for row in broken} if target.classes else set()
    enough = all(kept[code] >= FEWEST_WHOLE for code in hurt)
    if enough and len(broken) <= MOST_BROKEN * len(images):
        return
    first = next(iter(sorted(broken)))
    if len(broken) == 1:
        must = f"{folder / written([images[first]])[0]} must be an image that can be read"
        raise DataError(explain("load", must, broken[first], "repair or remove the file"))
    must = f"at least nine of ten images of {folder}, and {FEWEST_WHOLE} of each class, must be readable"
    got = f"{count(len(broken), 'broken file')} of {len(images):,}: {_reasons(broken, images)}"
    raise DataError(explain("load", must, got, "repair or remove them"))


def _reasons(broken: Broken, images: Sequence[Names]) -> str:
    rows = sorted(broken)
    named = "; ".join(f"{written([images[row]])[0]!r} ({broken[row]})" for row in rows[:_NAMED])
    return named if len(rows) <= _NAMED else f"{named} and {len(rows) - _NAMED:,} more"


def _left_out(broken: Broken, images: Sequence[Names]) -> list[str]:
    if not broken:
        return []
    return [f"{count(len(broken), 'file')} that cannot be read left out: {_reasons(broken, images)}"]


def _unread(contents: Contents) -> list[str]:
    if not contents.unread:
        return []
    kinds = sorted({names[-1].rpartition(".")[2].lower() for names in contents.unread})
    return [
        f"{count(len(contents.unread), 'file')} of formats that are not read ({', '.join(kinds)}) left out: "
        f"{listing(written(contents.unread))}; converted to JPEG or PNG they count"
    ]


def _not_measured(target: Target, fixed: npt.NDArray[np.int8] | None) -> list[str]:
    """Classes without images in a part that is laid down."""
    said = []
    for part, name in ((TEST, "test"), (VALIDATION, "validation")):
        if fixed is None or not target.classes or not (fixed == part).any():
            continue
        sizes = np.bincount(target.values[fixed == part].astype(np.int64), minlength=len(target.classes))
        if absent := [target.classes[code] for code in np.flatnonzero(sizes == 0)]:
            which = "class" if len(absent) == 1 else "classes"
            said.append(
                f"no images of the {which} {listing(absent)} in {name}: nothing is measured of them there"
            )
    return said
