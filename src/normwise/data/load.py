"""One door for all data: by name or by path."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from normwise.data import table
from normwise.data.arrays import load_npz
from normwise.data.dataset import Dataset
from normwise.data.idx import is_idx_folder, load_idx
from normwise.data.images import load_images
from normwise.data.names import canonical, known, load_named
from normwise.data.task import Task, checked_task
from normwise.data.wording import listing
from normwise.errors import ArgumentError, DataError, UnknownNameError, explain, unknown_name

_SUPPORTED = (*table.SUFFIXES, ".npz")


def load(
    source: str, *, target: str | None = None, task: str | None = None, image_size: int | None = None
) -> Dataset:
    """Read a data set by name or by path, and say how it was understood.

    Names are those of `known()`. A path is a CSV, TSV or Parquet table (with `target`), an `.npz` file, an
    IDX folder, or a folder of images with one sub-folder a class. Classification or regression is told from
    the target: words, booleans and integers of at most 20 distinct values are classes (beside images also
    labels 0 … K−1 of five rows each), other numbers are a quantity. Rows in messages count from 1.

    Args:
        source: a name or a path; a known name wins over a file of that name (write ./name for the file).
        target: the column of a table, or the array of an `.npz` file, to predict.
        task: "classification" or "regression", overriding what the target suggests.
        image_size: longer side in pixels for a folder of images; the commonest size, at most 64, by default.

    Raises:
        UnknownNameError: unknown name, column, array or task; the nearest ones are named.
        DataError: data that cannot be used as it is; the message names the place and the remedy.
        ArgumentError: an option that this kind of data does not have.
        MissingPackageError: the package that reads this kind of data is not installed.

    >>> data = load("digits")
    >>> data.kind, data.task, data.inputs, data.rows, len(data.classes)
    ('image', 'classification', '8×8 grey images', 1797, 10)
    """
    wanted = checked_task(task)
    name = canonical(source)
    if name in known():
        _refuse(source, "is known by name and has its own target", "target", target)
        _refuse(source, "has a size of its own", "image_size", image_size)
        return load_named(name, task=wanted)
    path = Path(source).expanduser()
    if not path.exists():
        raise _not_found(source, path)
    try:
        return _load_path(path, target, wanted, image_size)
    except PermissionError as error:
        raise DataError(explain("load", f"{source} must be readable", str(error))) from error


def _load_path(path: Path, target: str | None, task: Task | None, image_size: int | None) -> Dataset:
    if path.is_dir():
        idx = is_idx_folder(path)
        _refuse(str(path), "is a folder, whose labels are its target", "target", target)
        if idx:
            _refuse(str(path), "is an IDX folder, whose images have a size", "image_size", image_size)
            return load_idx(path, task=task)
        return load_images(path, task=task, image_size=image_size)
    _refuse(str(path), "is no folder of images", "image_size", image_size)
    suffix = path.suffix.lower()
    if suffix not in _SUPPORTED:
        got = f"{path.name!r}"
        hint = "a folder of images needs a sub-folder a class; other tables can be exported as CSV"
        must = f"{path} must be a folder or end in {', '.join(_SUPPORTED)}"
        raise DataError(explain("load", must, got, hint))
    if not path.is_file():
        raise DataError(explain("load", f"{path} must be a file or a folder", "a pipe or device"))
    if path.stat().st_size == 0:
        raise DataError(explain("load", f"{path} must hold data", "an empty file"))
    if suffix == ".npz":
        return load_npz(path, target=target, task=task)
    return table.load_table(path, target=target, task=task)


def _refuse(source: str, why: str, option: str, value: object) -> None:
    if value is not None:
        raise ArgumentError(
            explain("load", f"{source} {why}", f"{option}={value!r}", f"leave `{option}` away for it")
        )


def _not_found(source: str, path: Path) -> DataError | UnknownNameError:
    looks_like_path = os.sep in source or path.suffix.lower() in _SUPPORTED or source.startswith((".", "~"))
    if not looks_like_path:
        error = unknown_name("load", "data set", source, known())
        return UnknownNameError(
            f"{error} A path of a file or folder works too; there is none called {source!r}."
        )
    parent = path.parent
    if not parent.is_dir():
        got, hint = f"no folder {str(parent)!r}", "check the path"
    else:
        names = [entry.name for entry in parent.iterdir()]
        near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
        got = "nothing there"
        hint = f"did you mean {listing([str(parent / name) for name in near])}" if near else "check the path"
    return DataError(explain("load", f"{source} must exist", got, hint))
