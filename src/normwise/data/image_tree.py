"""Images below a folder, grouped by the names of the folders on their way."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from normwise.data.image_files import Names, readable
from normwise.data.split import TEST, TRAIN, VALIDATION

PARTS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev"), VALIDATION),
    **dict.fromkeys(("test", "testing"), TEST),
}
"""What the name of a folder, in small letters, says about its rows."""


@dataclass(frozen=True)
class Tree:
    """Images below a folder, by the first name on their way.

    Attributes:
        start: the folder, relative to the one that was asked for.
        direct: images in the folder itself.
        below: images anywhere below each of its sub-folders.
    """

    start: Names
    direct: list[Names]
    below: dict[str, list[Names]]


def tree(images: Sequence[Names], start: Names = ()) -> Tree:
    """Group images by the sub-folder of `start` that they are in.

    Names are compared as they read: an accent of one character or of two (macOS) makes no second folder.
    """
    direct: list[Names] = []
    below: dict[str, list[Names]] = {}
    for image in images:
        if image[: len(start)] != start:
            continue
        if len(image) == len(start) + 1:
            direct.append(image)
        else:
            below.setdefault(unicodedata.normalize("NFC", readable(image[len(start)])), []).append(image)
    return Tree(start, direct, below)


def descend(found: Tree) -> Tree:
    """Go down while a single sub-folder holds all images, and none itself: root/dataset/… as archives unpack."""
    while not found.direct and len(found.below) == 1:
        ((_, images),) = found.below.items()
        inside = tree(images, images[0][: len(found.start) + 1])
        if inside.direct or not inside.below or sum(map(len, inside.below.values())) < len(images):
            return found
        found = inside
    return found


def part_of(name: str) -> int | None:
    """Train, validation or test (`Dealing.fixed`), if that is what a folder's name says.

    >>> part_of("Valid"), part_of("cat")
    (1, None)
    """
    return PARTS.get(name.strip().casefold())
