"""How a folder of images is laid out: classes, and parts that somebody has dealt already."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from normwise.data.image_doubts import doubts
from normwise.data.image_files import SUFFIXES, Contents, Names, written
from normwise.data.image_tree import Tree, descend, part_of, tree
from normwise.data.split import FREE, TEST, TRAIN, VALIDATION
from normwise.data.task import Target, Task, labelled
from normwise.data.wording import count, listing, natural_key
from normwise.errors import DataError, explain

_HOW = "put the images of each class into a sub-folder named after it"


@dataclass(frozen=True, eq=False)
class Layout:
    """Which images there are, what each is labelled with, and in which part it is.

    Attributes:
        images: N paths relative to the folder.
        target: N labels.
        fixed: (N,) as `Dealing.fixed`, or None.
        notes: what was understood and ignored.
        warnings: what perhaps is not as it was meant.
        dealer: what `fixed` comes from, in words.
    """

    images: list[Names]
    target: Target
    fixed: npt.NDArray[np.int8] | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    dealer: str = "the folder"


@dataclass(frozen=True, eq=False)
class _Found:
    """What folders say: (class, part, image) of each row, the names of the classes, and what to say."""

    rows: list[tuple[int, int, Names]]
    classes: list[str]
    notes: list[str]
    warnings: list[str]
    ignored: list[Names]  # images that notes and warnings speak of


def has_classes(top: Tree) -> bool:
    """Whether sub-folders can be read as classes, or as parts with classes in them."""
    parts = [part_of(name) for name in top.below]
    return _are_parts(top) or (len(parts) > 1 and (None in parts or TRAIN not in parts))


def read_layout(folder: Path, contents: Contents, task: Task | None) -> Layout:
    """Understand a folder of class folders, or of train, validation and test folders with class folders in them.

    A class is the first level; images anywhere below belong to it. Parts inside of classes (cat/train, cat/test)
    are understood too.

    Raises:
        DataError: fewer than two classes, two folders for one part, a class that is tested and not trained.
    """
    top = descend(tree(contents.images))
    notes = [f"read from the folder {'/'.join(top.start)!r}, which holds everything"] if top.start else []
    found = _by_parts(folder, top) if _are_parts(top) else _by_classes(folder, contents, top)
    codes, parts, images = zip(*found.rows, strict=True)
    return Layout(
        images=list(images),
        target=labelled(
            "folder",
            np.array(codes, dtype=np.int64),
            tuple(found.classes),
            f"the {len(found.classes)} sub-folders are the classes",
            task,
        ),
        fixed=settled(np.array(parts, dtype=np.int8)),
        notes=(*notes, *found.notes, *unused(contents, [*images, *found.ignored])),
        warnings=tuple(found.warnings),
    )


def settled(parts: npt.NDArray[np.int8]) -> npt.NDArray[np.int8] | None:
    """`Dealing.fixed` of rows in parts that are laid down; None if all of them train.

    A validation or test part that is missing is dealt from the training rows, which are free then.
    """
    missing = {VALIDATION, TEST} - set(parts.tolist())
    if len(missing) == 2:
        return None
    return np.where(parts == TRAIN, FREE, parts).astype(np.int8) if missing else parts


def part_words(fixed: npt.NDArray[np.int8] | None, dealer: str) -> list[str]:
    """What to say of parts that are laid down, by what is called `dealer`."""
    if fixed is None:
        return []
    train = int(np.isin(fixed, (FREE, TRAIN)).sum())
    sizes = {
        "train": train,
        "validation": int((fixed == VALIDATION).sum()),
        "test": int((fixed == TEST).sum()),
    }
    given = ", ".join(f"{name} ({count(size, 'image')})" for name, size in sizes.items() if size)
    missing = [f"; {name} is dealt from train" for name, size in sizes.items() if not size]
    return [f"every split has the parts of {dealer}: {given}{''.join(missing)}"]


def unused(contents: Contents, images: Iterable[Names]) -> list[str]:
    """What to say of everything that is no image with a label."""
    used = set(images)
    with_images = {image[:depth] for image in contents.images for depth in range(len(image))}
    without = [names for names in contents.folders if names not in with_images and names[:-1] in with_images]
    strangers = contents.others + [image for image in contents.images if image not in used]
    strangers.sort(key=lambda names: [natural_key(name) for name in names])
    notes = []
    if without:
        notes.append(
            f"{count(len(without), 'sub-folder')} without images ignored: {listing(written(without))}"
        )
    if strangers:
        what = "file that is no labelled image", "files that are no labelled images"
        notes.append(f"{count(len(strangers), *what)} ignored: {listing(written(strangers))}")
    if contents.repeated:
        what = "link to a folder that is", "links to folders that are"
        found = listing(written(contents.repeated))
        notes.append(f"{count(len(contents.repeated), *what)} read anyway not followed: {found}")
    return notes


def _are_parts(top: Tree) -> bool:
    """Whether the sub-folders are parts: a train folder with classes in it, beside others or flat folders.

    A class can be called train too, beside car and plane; all three then have images themselves, or none.
    """
    parts = {name: part_of(name) for name in top.below}
    train = next((name for name, part in parts.items() if part == TRAIN), None)
    if len(parts) < 2 or train is None or not _inside(top, train).below:
        return False
    others = [name for name, part in parts.items() if part is None]
    return len(parts) - len(others) > 1 or not any(_inside(top, name).below for name in others)


def _inside(top: Tree, name: str) -> Tree:
    return descend(tree(top.below[name], top.below[name][0][: len(top.start) + 1]))


def _check_names(folder: Path, top: Tree) -> None:
    """Refuse folders that are named like parts, all of them, and have nothing to learn from."""
    parts = [part_of(name) for name in top.below]
    if len(parts) < 2 or None in parts:
        return
    must = (
        f"{folder} must hold class folders, or train, validation and test folders with class folders in them"
    )
    if TRAIN in parts:
        got = f"images in {listing(sorted(top.below))} themselves"
        raise DataError(explain("load", must, got, f"{_HOW}, or add a table of file names and labels"))
    raise DataError(explain("load", must, f"{listing(sorted(top.below))} and no train folder"))


def _by_classes(folder: Path, contents: Contents, top: Tree) -> _Found:
    _check_names(folder, top)
    if len(top.below) < 2:
        raise DataError(_too_few_classes(folder, contents, top))
    names = sorted(top.below, key=natural_key)
    inner = _parts_inside(top)
    rows = [
        (code, part_of(image[len(top.start) + 1]) or TRAIN if inner else TRAIN, image)
        for code, name in enumerate(names)
        for image in top.below[name]
    ]
    return _Found(rows, names, [] if inner else _nested([top]), [] if inner else doubts(top, names), [])


def _by_parts(folder: Path, top: Tree) -> _Found:
    found: dict[int, tuple[str, Tree]] = {}
    notes: list[str] = []
    warnings: list[str] = []
    ignored: list[Names] = []
    for name in sorted(top.below, key=natural_key):
        part = part_of(name)
        if part is None:
            images = count(len(top.below[name]), "image")
            warnings.append(f"{images} in {name!r} ignored, which is no train, validation or test")
            ignored += top.below[name]
        elif part in found:
            got = f"{found[part][0]!r} and {name!r}"
            raise DataError(
                explain("load", f"{folder} must hold one folder for each part", got, "merge them")
            )
        else:
            found[part] = (name, _inside(top, name))
    train_name, train = found[TRAIN]
    if len(train.below) < 2:
        must = f"{folder / written([train.start])[0]} must hold two class folders or more"
        raise DataError(explain("load", must, f"{listing(list(train.below))} alone", "add another class"))
    names = sorted(train.below, key=natural_key)
    rows, read = [], []
    for part in sorted(found):
        name, inside = found[part]
        strange = [other for other in inside.below if other not in train.below]
        if not inside.below or (len(inside.below) == len(strange) == 1):
            # An empty hand of labels is how competitions give out their test images.
            unlabelled = inside.direct or inside.below[strange[0]]
            notes.append(
                f"{count(len(unlabelled), 'image')} in {name!r} ignored: no class folders, so no labels"
            )
            ignored += unlabelled
            continue
        if strange:
            raise DataError(_not_trained(folder, name, train_name, strange, names))
        read.append(inside)
        rows += [
            (names.index(label), part, image) for label, images in inside.below.items() for image in images
        ]
    return _Found(sorted(rows, key=lambda row: row[:2]), names, notes + _nested(read), warnings, ignored)


def _not_trained(folder: Path, part: str, train: str, strange: list[str], names: list[str]) -> str:
    folded = {name.casefold(): name for name in names}
    near = [folded[match] for match in difflib.get_close_matches(strange[0].casefold(), list(folded), n=1)]
    hint = f"rename it to {near[0]!r}, if that is meant" if near else f"add it to {train!r}, or remove it"
    must = f"every class folder of {part!r} in {folder} must be in {train!r} too"
    return explain("load", must, f"{listing(strange)} in {part!r} alone", hint)


def _parts_inside(top: Tree) -> bool:
    level = len(top.start) + 1
    for images in top.below.values():
        parts = {part_of(image[level]) if len(image) > level + 1 else None for image in images}
        if None in parts or TRAIN not in parts or len(parts) < 2:
            return False
    return True


def _nested(trees: Iterable[Tree]) -> list[str]:
    deeper = {
        image[: len(top.start) + 2]: None
        for top in trees
        for images in top.below.values()
        for image in images
        if len(image) > len(top.start) + 2
    }
    if not deeper:
        return []
    return [f"images in sub-folders of a class belong to the class: {listing(written(deeper))}"]


def _too_few_classes(folder: Path, contents: Contents, top: Tree) -> str:
    must = f"{folder} must hold two sub-folders or more with images ({', '.join(SUFFIXES[:4])}, …)"
    labels = f"{_HOW}, or write labels.csv with the columns filename and label"
    if top.below:
        ((name, images),) = top.below.items()
        if part_of(name) is not None and not _inside(top, name).below:
            got = f"{count(len(images), 'image')} in {name!r} alone and no table of labels beside them"
            return explain("load", must, got, labels)
        alone = "/".join((*top.start, name))
        return explain("load", must, f"the sub-folder {alone!r} alone", "add another class")
    if top.direct:
        got = f"{count(len(top.direct), 'image')} in one folder and no table of labels beside them"
        return explain("load", must, got, labels)
    if contents.unread:
        got = f"{count(len(contents.unread), 'image')} of other formats, such as {written(contents.unread)[0]!r}"
        return explain("load", must, got, "convert them to JPEG or PNG")
    others = written(contents.others)
    if contents.folders:
        got = f"no image in {listing(written(contents.folders))}"
        if any("/" in name for name in others):
            got += f" but {count(len(others), 'file')}, such as {others[0]!r}"
            if all("." not in name.rpartition("/")[2] for name in others):
                return explain("load", must, got, "name the files by their format, such as .png")
    elif others:
        got = f"{count(len(others), 'file')} and no sub-folder"
    else:
        got = "an empty folder"
    return explain("load", must, got, _HOW)
