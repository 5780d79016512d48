"""The arrays of an `.npz` file, checked before they are read: nothing is unpickled."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from normwise.data.wording import listing
from normwise.errors import DataError, explain

LARGEST_BYTES = 2**32
"""A file that unpacks to more is refused before any memory is taken."""

_Array = npt.NDArray[np.generic]


def read_npz(path: Path) -> dict[str, _Array]:
    """Read every array of an `.npz` file.

    Raises:
        DataError: no `.npz` file, a damaged one, arrays with objects inside, or more than 4 GiB unpacked.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_size(path, archive)
            return {
                entry.filename.removesuffix(".npy"): _read(path, archive, entry)
                for entry in archive.infolist()
            }
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        ValueError,
        MemoryError,
        NotImplementedError,
    ) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            explain(
                "load",
                f"{path} must be an .npz file as numpy.savez writes it",
                str(error) or type(error).__name__,
                "write the file again",
            )
        ) from error


def _check_size(path: Path, archive: zipfile.ZipFile) -> None:
    size = sum(entry.file_size for entry in archive.infolist())
    if size > LARGEST_BYTES:
        raise DataError(
            explain(
                "load", f"{path} must unpack to at most 4 GiB", f"{size / 2**30:.1f} GiB", "keep fewer rows"
            )
        )
    if not archive.namelist():
        raise DataError(explain("load", f"{path} must hold arrays", "an empty file"))


def _read(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> _Array:
    if not entry.filename.endswith(".npy"):
        raise DataError(
            explain(
                "load",
                f"{path} must hold arrays alone",
                listing([entry.filename]),
                "write it with numpy.savez",
            )
        )
    with archive.open(entry) as file:
        shape, dtype = _header(file)
        name = entry.filename.removesuffix(".npy")
        if dtype.hasobject:
            raise DataError(
                explain(
                    "load",
                    f"arrays in {path} must be plain numbers or words: nothing is unpickled from a file",
                    f"Python objects in {name!r}",
                    "convert it with .astype(float) or .astype(str) before saving",
                )
            )
        # A header may announce more than the file holds; numpy would take that much memory before it notices.
        if math.prod(shape) * dtype.itemsize > entry.file_size:
            raise DataError(
                explain(
                    "load",
                    f"the array {name!r} in {path} must be complete",
                    f"a header of {math.prod(shape) * dtype.itemsize:,} bytes in {entry.file_size:,}",
                    "write the file again",
                )
            )
    with archive.open(entry) as file:
        array: _Array = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = reader(file)
    return shape, dtype
