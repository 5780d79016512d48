"""What lies in a folder: images, other files and folders, as paths relative to it.

A path is a tuple of names, `("train", "cat", "1.jpg")`; all lists are in natural order.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from normwise.data.wording import natural_key

Names = tuple[str, ...]

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jpe", ".jfif"),
)
"""Files with these are images, whatever is inside."""

UNREAD = (
    ".heic",
    ".heif",
    ".avif",
    ".jp2",
    ".j2k",
    ".jxl",
    ".svg",
    ".psd",
    ".tga",
    ".dcm",
    ".dng",
    ".cr2",
    ".nef",
)
"""Images too, which are not read: to be named, because nobody expects them to be left out."""

_CLUTTER = ("__macosx", "__pycache__", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin")


@dataclass(frozen=True)
class Contents:
    """What `look` found.

    Attributes:
        images: files with the suffix of an image; links to nothing among them.
        unread: images in formats that are not read.
        others: all other files.
        folders: all folders, empty ones too.
        repeated: links to folders that are read anyway, not followed.
    """

    images: list[Names]
    unread: list[Names]
    others: list[Names]
    folders: list[Names]
    repeated: list[Names]


def look(folder: Path) -> Contents:
    """List everything below a folder.

    Hidden files and what file managers and archives leave (`__MACOSX`, `Thumbs.db`, …) are passed over. A link to
    a folder is followed, unless that folder is read anyway or contains this one: each is read once.

    Raises:
        PermissionError: a folder that cannot be read.
    """
    found = Contents([], [], [], [], [])
    # Real folders first, so that a link never takes the place of what it points to.
    known = {_identity(parent) for parent in (folder.resolve(), *folder.resolve().parents)}
    links = list(_walk(folder, (), found, known))
    while links:
        waiting = sorted(links, key=_order)
        links = []
        for names in waiting:
            if _identity(folder.joinpath(*names)) in known:
                found.repeated.append(names)
            else:
                links += _walk(folder, names, found, known)
    for kind in (found.images, found.unread, found.others, found.folders, found.repeated):
        kind.sort(key=_order)
    return found


def _walk(folder: Path, start: Names, found: Contents, known: set[tuple[int, int]]) -> Iterator[Names]:
    """Add what lies below `start`, and yield the links to folders on the way."""
    pending = [start]
    while pending:
        names = pending.pop()
        here = folder.joinpath(*names)
        if names:
            if _identity(here) in known:
                found.repeated.append(names)
                continue
            found.folders.append(names)
        known.add(_identity(here))
        with os.scandir(here) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.casefold() in _CLUTTER:
                    continue
                mode = _mode(entry)
                if not stat.S_ISDIR(mode):
                    _kind(entry.name, mode, found).append((*names, entry.name))
                elif entry.is_symlink():
                    yield (*names, entry.name)
                else:
                    pending.append((*names, entry.name))


def _mode(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_mode
    except OSError:
        return 0


def _kind(name: str, mode: int, found: Contents) -> list[Names]:
    suffix = os.path.splitext(name)[1].lower()
    # A link to nothing is an image that cannot be read; a pipe that is called 1.png would be waited for.
    if suffix in SUFFIXES and (stat.S_ISREG(mode) or mode == 0):
        return found.images
    return found.unread if suffix in UNREAD else found.others


def _identity(folder: Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _order(names: Names) -> tuple[tuple[tuple[int, int, str], ...], ...]:
    return tuple(natural_key(name) for name in names)


def readable(name: str) -> str:
    """A name as it is to be read: what is no UTF-8 (of archives packed on Windows, say) is tried as GBK.

    >>> readable("cat"), readable(os.fsdecode("狗".encode("gbk")))
    ('cat', '狗')
    """
    try:
        name.encode()
        return name
    except UnicodeEncodeError:
        raw = os.fsencode(name)
    try:
        return raw.decode("gb18030")
    except UnicodeDecodeError:
        return raw.decode("utf-8", "replace")


def written(paths: Iterable[Names]) -> list[str]:
    """Paths as messages write them.

    >>> written([("train", "cat", "1.jpg")])
    ['train/cat/1.jpg']
    """
    return ["/".join(map(readable, names)) for names in paths]
