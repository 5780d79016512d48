"""Images whose labels stand in a table beside them: a CSV file with a column of file names."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from normwise.data.image_files import Contents, Names, readable, written
from normwise.data.image_layout import Layout, has_classes, settled, unused
from normwise.data.image_tree import descend, part_of, tree
from normwise.data.split import TRAIN
from normwise.data.task import Target, Task, read_target
from normwise.data.wording import count, listing
from normwise.errors import ArgumentError, DataError, explain, unknown_name

_SUFFIXES = (".csv", ".tsv")
_MOST_BYTES = 2**26
_LABELS = ("label", "labels", "class", "classes", "category", "target", "y", "标签", "类别")
_PARTS = ("split", "part", "set", "subset", "partition", "usage")
_MISSING = ("", "nan", "na", "n/a", "null")
_ENCODINGS = ("utf-8-sig", "gb18030", "latin-1")
_LOOKED_AT = 2_000_000  # cells that are tried as file names


@dataclass(frozen=True, eq=False)
class _Table:
    """A table that names images: its cells, the column of file names, and the image of each row (or −1)."""

    path: Names
    columns: list[str]
    rows: list[list[str]]
    key: int
    images: list[int]


def read_labels(folder: Path, contents: Contents, *, target: str | None, task: Task | None) -> Layout | None:
    """Labels from the table beside the images, where there are no class folders or `target` names a column.

    The table is a CSV or TSV file with a column of file names (paths, names or names without suffix). The label
    is the column `target`, else the only other column, else the only one that is called label, class or alike. A
    column such as split, or folders called train and test, deal the images.

    Returns:
        None where the folders are the classes, or no table names the images.

    Raises:
        ArgumentError: a `target` and no table.
        DataError: several tables, no column that clearly is the label, two labels of one image, no label.
        UnknownNameError: the table has no column called `target`.
    """
    top = descend(tree(contents.images))
    if target is None and has_classes(top):
        return None
    tables = _tables(folder, contents, len(top.start) + 2)
    if target is not None:
        tables = [table for table in tables if target in table.columns] or tables
    if top.below and any(part_of(name) == TRAIN for name in top.below):
        # Beside the labels of train/ competitions put a table of the test images, to be filled in.
        tables = [table for table in tables if _names_train(table, contents, len(top.start))]
    if not tables:
        if target is not None:
            must = f"`target` needs a table (CSV) in {folder} with a column of file names"
            raise ArgumentError(
                explain("load", must, f"target={target!r} and no such table", "leave `target` away")
            )
        return None
    if len(tables) > 1:
        got = listing(written(table.path for table in tables))
        must = f"one table of {folder} must name the images and their labels"
        raise DataError(
            explain("load", must, got, "leave only the one that counts, or use a sub-folder a class")
        )
    return _layout(folder, contents, tables[0], target, task, len(top.start))


def other_labels(folder: Path, contents: Contents, images: list[Names], labels: list[str]) -> list[str]:
    """What to say of a table that labels the images otherwise than their class folders do."""
    class_of = dict(zip(images, labels, strict=True))
    for table in _tables(folder, contents, 2):
        pairs = [
            (class_of[contents.images[image]], row)
            for row, image in zip(table.rows, table.images, strict=True)
            if image >= 0 and contents.images[image] in class_of
        ]
        width = len(table.columns)
        if 2 * len(pairs) >= len(images) and not any(_one_to_one(pairs, column) for column in range(width)):
            name = written([table.path])[0]
            return [
                f"{name!r} names the images too, with other labels than their folders, which are taken as the "
                f"classes; `target` takes one of its columns: {listing(table.columns)}"
            ]
    return []


def _one_to_one(pairs: list[tuple[str, list[str]]], column: int) -> bool:
    seen = {(label, row[column] if column < len(row) else "") for label, row in pairs}
    return len(seen) == len({label for label, _ in seen}) == len({value for _, value in seen})


def _tables(folder: Path, contents: Contents, depth: int) -> list[_Table]:
    """The tables near the images of which at least half the rows, or naming at least half of the images, fit."""
    near = [
        names
        for names in contents.others
        if len(names) <= depth
        and names[-1].lower().endswith(_SUFFIXES)
        and folder.joinpath(*names).stat().st_size <= _MOST_BYTES
    ]
    if not near:
        return []
    tables = []
    index = _index(contents.images)
    for names in near:
        path = folder.joinpath(*names)
        table = _read(path, names, index)
        if table is None:
            continue
        matched = {image for image in table.images if image >= 0}
        if matched and 2 * len(matched) >= min(len(table.rows), len(contents.images)):
            tables.append(table)
    return tables


def _index(images: list[Names]) -> Mapping[str, int]:
    """Positions of images by what a table may call them; −1 where that is ambiguous."""
    index: dict[str, int] = {}
    readably = [tuple(map(readable, names)) for names in images]
    for position, names in enumerate(readably):
        stem = PurePosixPath(names[-1]).stem
        # Every tail of the path, because a table may have been written one folder further up or down.
        tails = ["/".join(names[start:]) for start in range(len(names))]
        bare = ["/".join((*names[start:-1], stem)) for start in range(len(names))]
        for word in dict.fromkeys((*tails, *bare)):
            index[word] = -1 if word in index else position
    for position, names in enumerate(readably):
        index["/".join(names)] = position
    return index


def _find(cell: str, index: Mapping[str, int]) -> int:
    word = cell.strip().replace("\\", "/").removeprefix("./").lstrip("/")
    while word:
        if word in index:
            return index[word]
        _, _, word = word.partition("/")
    return -1


def _read(path: Path, names: Names, index: Mapping[str, int]) -> _Table | None:
    text = _text(path.read_bytes())
    header = text.lstrip().split("\n", 1)[0]
    separator = max(",;\t|", key=header.count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if any(row)]
    except csv.Error:
        return None
    if len(rows) < 2 or len(rows[0]) < 2:
        return None
    width = len(rows[0])
    tried = rows[1 : 1 + max(200, _LOOKED_AT // width)]
    # Labels such as 3 can be names of images too (3.png): the column of names is the one that names most.
    hits = [
        len({_find(row[column], index) for row in tried if column < len(row)} - {-1})
        for column in range(width)
    ]
    key = int(np.argmax(hits))
    columns = [cell.strip() for cell in rows[0]]
    if _find(columns[key], index) >= 0:
        columns = [f"column {number}" for number in range(1, width + 1)]
    else:
        rows = rows[1:]
    images = [_find(row[key], index) if key < len(row) else -1 for row in rows]
    return _Table(names, columns, rows, key, images)


def _text(data: bytes) -> str:
    for encoding in _ENCODINGS:
        try:
            return data.decode(encoding).replace("\0", "")
        except UnicodeDecodeError:
            continue
    raise AssertionError("latin-1 decodes everything")


def _names_train(table: _Table, contents: Contents, level: int) -> bool:
    return any(
        image >= 0
        and len(contents.images[image]) > level + 1
        and part_of(contents.images[image][level]) == TRAIN
        for image in table.images
    )


def _layout(
    folder: Path, contents: Contents, table: _Table, target: str | None, task: Task | None, level: int
) -> Layout:
    name = written([table.path])[0]
    parts_column = _parts_column(table)
    column = _label_column(folder, name, table, target, parts_column)
    labels: dict[int, str] = {}
    dealt: dict[int, int] = {}
    absent = unlabelled = 0
    for row, image in zip(table.rows, table.images, strict=True):
        value = row[column].strip() if column < len(row) else ""
        if image < 0:
            absent += 1
        elif value.casefold() in _MISSING:
            unlabelled += 1
        elif labels.setdefault(image, value) != value:
            got = f"{labels[image]!r} and {value!r} for {written([contents.images[image]])[0]!r}"
            raise DataError(
                explain("load", f"{name} in {folder} must give each image one label", got, "keep one")
            )
        elif parts_column is not None:
            dealt[image] = part_of(row[parts_column]) or TRAIN
    order = sorted(labels)
    images = [contents.images[image] for image in order]
    if not images:
        must = f"the column {table.columns[column]!r} of {name} in {folder} must label images"
        raise DataError(explain("load", must, "no label", "choose another column by `target`"))
    notes = [f"labels are the column {table.columns[column]!r} of {name!r}, by {table.columns[table.key]!r}"]
    if absent:
        notes.append(f"{count(absent, 'row')} of {name!r} without a file ignored")
    if unlabelled:
        notes.append(f"{count(unlabelled, 'row')} of {name!r} without a label ignored")
    parts = np.array([dealt.get(image, TRAIN) for image in order], dtype=np.int8)
    if parts_column is None:
        parts = _by_folder(images, level)
    rest = Contents(
        contents.images,
        contents.unread,
        [other for other in contents.others if other != table.path],
        contents.folders,
        contents.repeated,
    )
    return Layout(
        images=images,
        target=_target(table.columns[column], [labels[image] for image in order], task),
        fixed=settled(parts),
        notes=(*notes, *unused(rest, images)),
        dealer="the folder" if parts_column is None else f"the column {table.columns[parts_column]!r}",
    )


def _by_folder(images: list[Names], level: int) -> npt.NDArray[np.int8]:
    parts = [part_of(image[level]) if len(image) > level + 1 else None for image in images]
    if TRAIN not in parts or None in parts:
        parts = [TRAIN] * len(images)
    return np.array(parts, dtype=np.int8)


def _parts_column(table: _Table) -> int | None:
    for column, name in enumerate(table.columns):
        if name.casefold() not in _PARTS:
            continue
        values = {
            row[column] if column < len(row) else ""
            for row, image in zip(table.rows, table.images, strict=True)
            if image >= 0
        }
        parts = {part_of(value) for value in values}
        if None not in parts and TRAIN in parts:
            return column
    return None


def _label_column(
    folder: Path, name: str, table: _Table, target: str | None, parts_column: int | None
) -> int:
    others = [column for column in range(len(table.columns)) if column not in (table.key, parts_column)]
    if target is not None:
        if target not in [table.columns[column] for column in others]:
            raise unknown_name("load", f"label column of {name}", target, [table.columns[i] for i in others])
        return table.columns.index(target)
    likely = [column for column in others if table.columns[column].casefold() in _LABELS]
    if len(others) == 1 or len(likely) == 1:
        return (likely or others)[0]
    must = f"one column of {name} in {folder} must clearly be the label"
    got = listing([table.columns[column] for column in likely or others])
    hint = "name it by `target`, or keep two columns, such as filename and label"
    raise DataError(explain("load", must, got, hint))


def _target(name: str, values: list[str], task: Task | None) -> Target:
    try:
        numbers = np.array([float(value) for value in values])
    except ValueError:
        return read_target(name, np.array(values, dtype=np.str_), task=task, images=True)
    return read_target(name, numbers, task=task, images=True)
