"""A folder of images, one sub-folder a class."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from normwise._optional import require
from normwise.data.contents import ImageContents
from normwise.data.dataset import Dataset, assemble
from normwise.data.task import Task, labelled
from normwise.data.wording import count, listing, natural_key, shape_words
from normwise.errors import ArgumentError, DataError, explain

LONGEST_SIDE = 64
"""Larger images are reduced to this unless told otherwise: comparisons train many small networks."""

LARGEST_SIDE = 1024
MOST_PIXELS = 64_000_000
MOST_BYTES = 2**32

# Named, because pillow's other decoders start programs (EPS) or are rarely tried on hostile files.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
_DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_GREY = ("1", "L", "LA", "La", *_DEEP)
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height
_EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class _Header:
    path: Path
    size: tuple[int, int]  # width and height as seen, EXIF orientation applied
    grey: bool
    deep: bool  # more than 8 bits a pixel


def load_images(folder: Path, *, task: Task | None, image_size: int | None = None) -> Dataset:
    """Read a folder of images; the names of its sub-folders, in natural order, are the classes.

    All images take the commonest mode (grey or colour) and the commonest size, EXIF orientation applied;
    where that size is over 64 pixels on its longer side it is reduced to 64, or to `image_size` if that is
    given.

    Raises:
        ArgumentError: an `image_size` outside 1 … 1024.
        DataError: an empty folder, a single class, a broken image, more than 64 million pixels in one image,
            more than 4 GiB in all.
    """
    if image_size is not None and not 1 <= image_size <= LARGEST_SIDE:
        raise ArgumentError(
            explain("load", f"`image_size` must be 1 to {LARGEST_SIDE} pixels", str(image_size))
        )
    classes, notes = _classes(folder)
    headers = [_header(path) for paths in classes.values() for path in paths]
    common, frequency = Counter(header.size for header in headers).most_common(1)[0]
    grey = 2 * sum(header.grey for header in headers) >= len(headers)
    size = _target_size(common, image_size)
    if frequency < len(headers):
        notes.append(
            f"{count(len(headers) - frequency, 'image')} of other sizes than {shape_words(common)} resized"
        )
    if size != common:
        notes.append(f"images of {shape_words(common)} pixels resized to {shape_words(size)} (width×height)")
    others = sum(header.grey != grey for header in headers)
    if others:
        notes.append(f"{count(others, 'image')} converted to {'grey' if grey else 'colour'}, as most are")
    deep = sum(header.deep for header in headers)
    if deep:
        notes.append(f"{count(deep, 'image')} of more than 8 bits a pixel reduced to 8")
    channels = 1 if grey else 3
    if (needed := len(headers) * channels * size[0] * size[1]) > MOST_BYTES:
        raise DataError(
            explain(
                "load",
                f"the images of {folder} must fit into 4 GiB",
                f"{needed / 2**30:.1f} GiB",
                "give a smaller `image_size`, or fewer images",
            )
        )
    pixels = np.empty((len(headers), channels, size[1], size[0]), dtype=np.uint8)
    for index, header in enumerate(headers):
        pixels[index] = _decode(header.path, grey, size)
    names = tuple(classes)
    codes = np.repeat(np.arange(len(names)), [len(paths) for paths in classes.values()])
    return assemble(
        name=folder.resolve().name,
        source=str(folder),
        kind="image",
        contents=ImageContents(pixels),
        target=labelled("folder", codes, names, f"the {len(names)} sub-folders are the classes", task),
        notes=tuple(notes),
    )


def _classes(folder: Path) -> tuple[dict[str, list[Path]], list[str]]:
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith((".", "__"))]
    if not entries:
        raise DataError(
            explain(
                "load",
                f"{folder} must hold a sub-folder of images a class, or an IDX data set",
                "an empty folder",
                "put the images of each class into a sub-folder named after it",
            )
        )
    folders = sorted(
        (entry for entry in entries if entry.is_dir()), key=lambda entry: natural_key(entry.name)
    )
    inside = {entry.name: _split_by_suffix(entry) for entry in folders}
    classes = {name: images for name, (images, _) in inside.items() if images}
    if len(classes) < 2:
        raise DataError(_too_few_classes(folder, entries, folders, classes))
    notes = []
    without = [name for name, (images, _) in inside.items() if not images]
    if without:
        notes.append(f"{count(len(without), 'sub-folder')} without images ignored: {listing(without)}")
    strangers = [
        f"{name}/{other.name}" for name, (images, others) in inside.items() if images for other in others
    ]
    strangers += [entry.name for entry in entries if entry.is_file()]
    if strangers:
        notes.append(
            f"{count(len(strangers), 'file')} that are no images of a class ignored: {listing(strangers)}"
        )
    return classes, notes


def _split_by_suffix(folder: Path) -> tuple[list[Path], list[Path]]:
    files = [entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith(".")]
    files.sort(key=lambda entry: natural_key(entry.name))
    images = [file for file in files if file.suffix.lower() in _SUFFIXES]
    return images, [file for file in files if file.suffix.lower() not in _SUFFIXES]


def _too_few_classes(
    folder: Path, entries: list[Path], folders: list[Path], classes: dict[str, list[Path]]
) -> str:
    must = f"{folder} must hold two sub-folders or more with images ({', '.join(_SUFFIXES[:4])}, …)"
    deeper = [entry for entry in folders if any(child.is_dir() for child in entry.iterdir())]
    if deeper and not classes:
        # Of parts laid out by somebody else, the one to train on is the one to hint at.
        part = next((entry for entry in deeper if entry.name.lower().startswith("train")), deeper[0])
        return explain("load", must, f"folders inside {listing([part.name])}", f"give the path {part}")
    if classes:
        return explain("load", must, f"the sub-folder {listing(list(classes))} alone", "add another class")
    if folders:
        return explain("load", must, f"no image in {listing([entry.name for entry in folders])}")
    hint = "put the images of each class into a sub-folder named after it"
    return explain("load", must, f"{count(len(entries), 'file')} and no sub-folder", hint)


def _open(path: Path) -> Any:
    image_module = require("PIL.Image", extra="compare", who="reading images")
    try:
        with warnings.catch_warnings():
            # Pillow warns of oversized images where ours is the limit that counts; other warnings are of odd
            # metadata.
            warnings.simplefilter("ignore")
            image = image_module.open(path, formats=_FORMATS)
    except image_module.DecompressionBombError as error:
        raise DataError(_too_large(path, str(error))) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(_broken(path, error)) from error
    if image.width * image.height > MOST_PIXELS:
        with image:
            raise DataError(_too_large(path, f"{shape_words(image.size)} pixels"))
    return image


def _header(path: Path) -> _Header:
    with _open(path) as image, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            sideways = image.getexif().get(_EXIF_ORIENTATION) in _SIDEWAYS
        except (OSError, ValueError, SyntaxError) as error:
            raise DataError(_broken(path, error)) from error
        size = (image.height, image.width) if sideways else (image.width, image.height)
        return _Header(path, size, image.mode in _GREY, image.mode in _DEEP)


def _decode(path: Path, grey: bool, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return the image as (C, H, W)."""
    operations = require("PIL.ImageOps", extra="compare", who="reading images")
    image_module = require("PIL.Image", extra="compare", who="reading images")
    mode = "L" if grey else "RGB"
    with _open(path) as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # JPEG can decode at a fraction of its size, eight times faster; twice the side leaves resizing
            # its choice.
            opened.draft(mode, (2 * max(size), 2 * max(size)))
            image = operations.exif_transpose(opened)
            if image.mode in _DEEP:
                levels = np.asarray(image, dtype=np.float64)
                image = image_module.fromarray(_to_bytes(levels, image.mode.startswith("I;16"), path))
            if image.mode != mode:
                image = image.convert(mode)
            if image.size != size:
                image = image.resize(size, image_module.Resampling.BOX if _whole(image.size, size) else None)
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(_broken(path, error)) from error
        values = np.asarray(image, dtype=np.uint8)
    return values[None] if grey else values.transpose(2, 0, 1)


def _whole(size: tuple[int, int], wanted: tuple[int, int]) -> bool:
    return all(side % goal == 0 for side, goal in zip(size, wanted, strict=True))


def _to_bytes(values: npt.NDArray[np.float64], sixteen: bool, path: Path) -> npt.NDArray[np.uint8]:
    # Pillow's own conversion of 16-bit grey clips at 255 and would leave a white image.
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 65535:
        got = f"values from {values.min():g} to {values.max():g}"
        raise DataError(
            explain("load", f"{path} must be grey levels of 8 or 16 bits", got, "convert the image")
        )
    return (values / 257).astype(np.uint8) if sixteen or values.max() > 255 else values.astype(np.uint8)


def _target_size(common: tuple[int, int], image_size: int | None) -> tuple[int, int]:
    longer = max(common)
    goal = image_size or min(longer, LONGEST_SIDE)
    width, height = (max(1, round(side * goal / longer)) for side in common)
    return width, height


def _broken(path: Path, error: Exception) -> str:
    got = str(error).splitlines()[0] if str(error) else type(error).__name__
    return explain("load", f"{path} must be an image that can be read", got, "repair or remove the file")


def _too_large(path: Path, got: str) -> str:
    must = f"the image {path} must have at most {MOST_PIXELS // 1_000_000} million pixels"
    return explain("load", must, got, "reduce or remove the file")
