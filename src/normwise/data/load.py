"""One door for all data: by name or by path."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from normwise.data.arrays import load_npz
from normwise.data.dataset import Dataset
from normwise.data.idx import is_idx_folder, load_idx
from normwise.data.image_decode import Progress
from normwise.data.images import load_images
from normwise.data.names import canonical, known, load_named
from normwise.data.source import SUFFIXES, suffix
from normwise.data.table import load_table
from normwise.data.task import Task, checked_task
from normwise.data.wording import listing
from normwise.errors import ArgumentError, DataError, UnknownNameError, explain, unknown_name

_SUPPORTED = (*SUFFIXES, ".npz")
_SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
_ARCHIVES = (".zip", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".zst")


def load(
    source: str,
    *,
    target: str | None = None,
    task: str | None = None,
    image_size: int | None = None,
    drop: Sequence[str] = (),
    group: str | None = None,
    time: str | None = None,
    test_data: str | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Read a data set by name or by path, and say how it was understood.

    Names are those of `known()`. A path is a text table (.csv, .tsv, .txt, gzipped or not) or a Parquet file
    (with `target`), an `.npz` file, an IDX folder, or a folder of images with one sub-folder a class.
    Classification or regression is told from the target: words, booleans and integers of at most 20 distinct
    values are classes (beside images also labels 0 … K−1 of five rows each), other numbers are a quantity.
    Rows in messages count from 1.

    Args:
        source: a name or a path; a known name wins over a file of that name (write ./name for the file).
        target: the column of a table, or the array of an `.npz` file, to predict.
        task: "classification" or "regression", overriding what the target suggests.
        image_size: longer side in pixels for a folder of images; the commonest size, at most 64, by default.
        drop: columns that are no inputs; those of an array are "column 1", "column 2", ….
        group: a column of a table; rows that agree in it stay in one part of every split. It is no input.
        time: a column of a table; its oldest rows train, later ones validate, the newest test, whatever the
            seed. Of a date only month, weekday and hour are inputs, other times are none.
        test_data: path of a table with the same columns, whose rows are the test part of every split.
        progress: called with the number of images decoded and of all, while a folder of images is decoded.

    Raises:
        UnknownNameError: unknown name, column, array or task; the nearest ones are named.
        DataError: data that cannot be used as it is; the message names the place and the remedy.
        ArgumentError: an option that this kind of data does not have, or options that contradict each other.
        MissingPackageError: the package that reads this kind of data is not installed.

    >>> data = load("digits")
    >>> data.kind, data.task, data.inputs, data.rows, len(data.classes)
    ('image', 'classification', '8×8 grey images', 1797, 10)
    """
    wanted = checked_task(task)
    columns = (drop,) if isinstance(drop, str) else tuple(drop)
    parts = {"group": group, "time": time, "test_data": test_data}
    name = canonical(source)
    if name in known():
        _refuse(source, "is known by name and has its own target", "target", target)
        _refuse(source, "has a size of its own", "image_size", image_size)
        _refuse_all(source, "is known by name, and its rows are all alike", parts)
        return load_named(name, task=wanted, drop=columns)
    path = _existing(source)
    try:
        if path.is_dir():
            _refuse_all(source, "is a folder, which has no columns", {"drop": columns or None, **parts})
            return _load_folder(path, target, wanted, image_size, progress)
        _check_file(path)
        _refuse(source, "is no folder of images", "image_size", image_size)
        if suffix(path) == ".npz":
            _refuse_all(source, "is an .npz file, which has no named columns", parts)
            return load_npz(path, target=target, task=wanted, drop=columns)
        test = None if test_data is None else _test_table(path, test_data)
        return load_table(
            path, target=target, task=wanted, drop=columns, group=group, time=time, test_data=test
        )
    except PermissionError as error:
        raise DataError(explain("load", f"{source} must be readable", str(error))) from error


def _load_folder(
    path: Path, target: str | None, task: Task | None, image_size: int | None, progress: Progress | None
) -> Dataset:
    if is_idx_folder(path):
        _refuse(str(path), "is an IDX folder, whose labels are its target", "target", target)
        _refuse(str(path), "is an IDX folder, whose images have a size", "image_size", image_size)
        return load_idx(path, task=task)
    return load_images(path, task=task, image_size=image_size, target=target, progress=progress)


def _existing(source: str) -> Path:
    path = Path(source).expanduser()
    if not path.exists():
        raise _not_found(source, path)
    return path


def _check_file(path: Path) -> None:
    ending = suffix(path)
    if ending not in _SUPPORTED:
        hint = "a folder of images needs a sub-folder a class; other tables can be exported as CSV"
        if ending in _SPREADSHEETS:
            hint = "export the sheet as CSV (UTF-8)"
        elif path.suffix.lower() in _ARCHIVES:
            hint = "unpack it first"
        must = f"{path} must be a folder or end in {', '.join(_SUPPORTED)}"
        raise DataError(explain("load", must, repr(path.name), hint))
    if not path.is_file():
        raise DataError(explain("load", f"{path} must be a file or a folder", "a pipe or device"))
    if path.stat().st_size == 0:
        raise DataError(explain("load", f"{path} must hold data", "an empty file"))


def _test_table(path: Path, test_data: str) -> Path:
    test = Path(test_data).expanduser()
    if not test.exists():
        raise _missing_file(test_data, test)
    if test.is_dir() or suffix(test) not in SUFFIXES:
        got = "a folder" if test.is_dir() else repr(test.name)
        must = f"the test data of a table must be a table ending in {', '.join(SUFFIXES)}"
        raise DataError(explain("load", must, got))
    _check_file(test)
    if test.samefile(path):
        must = "the test table must be another file than the table"
        raise ArgumentError(
            explain("load", must, f"{test_data} twice", "leave `test_data` away to split the table")
        )
    return test


def _refuse_all(source: str, why: str, options: Mapping[str, object]) -> None:
    for option, value in options.items():
        _refuse(source, why, option, value)


def _refuse(source: str, why: str, option: str, value: object) -> None:
    if value is not None:
        raise ArgumentError(
            explain("load", f"{source} {why}", f"{option}={value!r}", f"leave `{option}` away for it")
        )


def _not_found(source: str, path: Path) -> DataError | UnknownNameError:
    looks_like_path = os.sep in source or suffix(path) in _SUPPORTED or source.startswith((".", "~"))
    if not looks_like_path:
        error = unknown_name("load", "data set", source, known())
        return UnknownNameError(
            f"{error} A path of a file or folder works too; there is none called {source!r}."
        )
    return _missing_file(source, path)


def _missing_file(source: str, path: Path) -> DataError:
    parent = path.parent
    if not parent.is_dir():
        got, hint = f"no folder {str(parent)!r}", "check the path"
    else:
        names = [entry.name for entry in parent.iterdir()]
        near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
        got = "nothing there"
        hint = f"did you mean {listing([str(parent / name) for name in near])}" if near else "check the path"
    return DataError(explain("load", f"{source} must exist", got, hint))
