"""Images below a folder, grouped by the names of the folders on their way."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from normwise.data.image_files import Names, readable
from normwise.data.split import TEST, TRAIN, VALIDATION

_PARTS = {
    **dict.fromkeys(("train", "training", "trn", "训练"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "eval", "验证", "校验"), VALIDATION),
    **dict.fromkeys(("test", "testing", "tst", "holdout", "测试"), TEST),
}
_AROUND = re.compile(r"[\W_\d]+|set|data|(?:image|img|photo|picture|sample|split)s?|数据|图[片像]|样本|集")
"""What surrounds these words: train_set, test1, TestImages, 训练集."""


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

    >>> part_of("Valid"), part_of("test_set"), part_of("TrainImages"), part_of("训练集"), part_of("cat")
    (1, 2, 0, 0, None)
    """
    return _PARTS.get(_AROUND.sub("", unicodedata.normalize("NFKC", name).casefold()))
