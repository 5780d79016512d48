"""Arrays that are dear to make, kept on disk: a hit saves time and changes nothing else.

An entry is one file: a header in JSON and the array behind it, both in numpy's
format, so that the array can be mapped into memory and shared by processes. Whatever goes wrong here means that
the array is made again, never an error: the data itself is elsewhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from normwise._cache import cache_folder

MOST_BYTES = 4 * 2**30
"""All entries together stay below this; those unused for longest go first."""

LEAST_FREE = 2**29
"""So much of the disk is left to others: a cache must not be what fills it."""

_VERSION = 1
_SUFFIX = ".normwise"
_UNFINISHED = ".normwise-part"
_ABANDONED = 24 * 3600.0  # seconds after which an unfinished entry is that of a process which was killed
_BLOCK = 2**24


def key_of(*parts: object) -> str:
    """The key of all that determines an array, from the representations of the parts.

    >>> key_of("a", 1) == key_of("a", 1), key_of("a", 1) == key_of("a1"), len(key_of())
    (True, False, 32)
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in (_VERSION, *parts):
        text = repr(part).encode("utf-8", "backslashreplace")
        digest.update(len(text).to_bytes(8, "little") + text)
    return digest.hexdigest()


def fetch(key: str) -> tuple[dict[str, Any], npt.NDArray[np.uint8]] | None:
    """The header and the array (read-only, mapped) kept under a key; None if there are none that are whole."""
    # Any exception: of a damaged file nearly every line below can raise, each in its own way.
    with contextlib.suppress(Exception):
        path = _path(key)
        if path is None or not path.is_file():
            return None
        header, array = _read(path)
        with contextlib.suppress(OSError):
            os.utime(path)  # used now
        return header, array
    return None


def keep(key: str, header: Mapping[str, Any], array: npt.NDArray[np.uint8]) -> None:
    """Keep an array of bytes with a header that JSON can hold, and remove what then is too much.

    The entry appears whole or not at all. Nothing is kept where the folder cannot be written, the disk is nearly
    full, or the array alone is more than the bound.
    """
    with contextlib.suppress(OSError):
        path = _path(key)
        if path is None or array.nbytes > MOST_BYTES:
            return
        # Images can be private: the folder is its owner's alone.
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if shutil.disk_usage(path.parent).free < array.nbytes + LEAST_FREE:
            return
        _write(path, header, array)
        _trim(path.parent, newest=path)


def _path(key: str) -> Path | None:
    where = cache_folder()
    return None if where is None else where / f"{key}{_SUFFIX}"


def _read(path: Path) -> tuple[dict[str, Any], npt.NDArray[np.uint8]]:
    with path.open("rb") as file:
        entry = json.loads(np.lib.format.read_array(file, allow_pickle=False).tobytes())
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        array = np.memmap(path, dtype, "r", offset=file.tell(), shape=shape)
    if array.dtype != np.uint8 or _checksum(entry["header"], array) != entry["checksum"]:
        raise ValueError("a damaged entry")
    header: dict[str, Any] = json.loads(entry["header"])
    return header, np.asarray(array)


def _write(path: Path, header: Mapping[str, Any], array: npt.NDArray[np.uint8]) -> None:
    array = np.ascontiguousarray(array)
    words = json.dumps(dict(header))
    entry = json.dumps({"header": words, "checksum": _checksum(words, array)}).encode()
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=_UNFINISHED)
    try:
        with os.fdopen(handle, "wb") as file:
            np.lib.format.write_array(file, np.frombuffer(entry, np.uint8), (1, 0), allow_pickle=False)
            np.lib.format.write_array(file, array, (1, 0), allow_pickle=False)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _checksum(words: str, array: npt.NDArray[np.uint8]) -> int:
    flat = array.reshape(-1)
    checksum = zlib.crc32(words.encode())
    for start in range(0, flat.size, _BLOCK):
        checksum = zlib.crc32(flat[start : start + _BLOCK].data, checksum)
    return checksum


def _trim(where: Path, newest: Path) -> None:
    """Remove the entries unused for longest until the rest is within the bound, and what killed processes left."""
    entries: list[tuple[float, int, Path]] = []
    # Only files of ours by their suffix: the folder may be one that the user shares with other things.
    for path in where.iterdir():
        with contextlib.suppress(OSError):
            status = path.stat()
            if path.suffix == _SUFFIX:
                # Clocks of file systems differ from each other; the entry just written is never the oldest.
                entries.append((np.inf if path == newest else status.st_mtime, status.st_size, path))
            elif path.suffix == _UNFINISHED and time.time() - status.st_mtime > _ABANDONED:
                path.unlink()
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= MOST_BYTES:
            return
        # An entry that another process maps cannot be removed on Windows; the next one is tried.
        with contextlib.suppress(OSError):
            path.unlink()
            total -= size
