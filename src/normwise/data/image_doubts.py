"""Sub-folders that were read as classes and perhaps are none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from normwise.data.image_tree import Tree
from normwise.data.wording import listing

_MASKS = ("mask", "masks", "annotation", "annotations", "segmentation", "segmentations", "gt", "groundtruth")


def doubts(top: Tree, classes: Sequence[str]) -> list[str]:
    """What to say of classes that look like parts or variants of one data set, or like masks of images."""
    return [*_same_inside(top, classes), *_masks(top, classes)]


def _same_inside(top: Tree, classes: Sequence[str]) -> list[str]:
    level = len(top.start) + 1
    inside = [{image[level] for image in top.below[name] if len(image) > level + 1} for name in classes]
    if len(inside[0]) < 2 or any(names != inside[0] for names in inside):
        return []
    return [
        f"{listing(list(classes))} are taken as the classes, and all of them hold {listing(sorted(inside[0]))}: if "
        f"those are the classes, name the folders above train, validation and test, or give {classes[0]!r} alone"
    ]


def _masks(top: Tree, classes: Sequence[str]) -> list[str]:
    stems = {name: {PurePosixPath(image[-1]).stem for image in top.below[name]} for name in classes}
    return [
        f"{name!r} is taken as a class, and its files are called as those in {other!r}: masks of images are no class"
        for name in classes
        if name.casefold() in _MASKS
        for other in classes
        if other != name and 2 * len(stems[name] & stems[other]) > len(stems[name])
    ]
