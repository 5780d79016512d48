"""One image file: what its header says, and its pixels in the form that all images take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from normwise._optional import require
from normwise.data.image_fit import Frame, fitted, padded
from normwise.data.wording import shape_words

MOST_PIXELS = 64_000_000
"""Of one image: what is larger costs more memory to decode than a comparison of small networks deserves."""

_Read = TypeVar("_Read")

# Named, because pillow's other decoders start programs (EPS) or are rarely tried on hostile files.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
_MANY_PICTURES = ("GIF", "WEBP", "TIFF", "PNG")
_DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_GREY = ("1", "L", "LA", "La", *_DEEP)
_BY_RGB = ("LAB", "HSV", "YCbCr")  # have no way of their own to grey
_EXIF = ("exif", "Raw profile type exif")
_EXIF_ORIENTATION = 0x0112
# What turns a stored image upright, by EXIF orientation: the names in PIL.Image.Transpose.
_UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_SIDEWAYS = (5, 6, 7, 8)
_TOO_LARGE = f"more than {MOST_PIXELS // 1_000_000} million pixels"


@dataclass(frozen=True)
class Header:
    """What is known of an image before the form of all images is.

    Attributes:
        size: width and height as seen, EXIF orientation applied.
        grey: whether it has no colours.
        turned: whether it is stored otherwise than upright.
        many: whether the file holds further pictures (an animation, pages).
        levels: least and greatest value of a grey image of more than 8 bits; else None.
    """

    size: tuple[int, int]
    grey: bool
    turned: bool
    many: bool
    levels: tuple[float, float] | None


class UnreadableError(Exception):
    """A file that is no whole image; the message says why in a few words."""


def read_header(path: Path) -> Header:
    """Read what the header says; of deep images also the range of their values.

    Raises:
        UnreadableError: no image, or one that is broken or too large.
    """
    return _guarded(_read_header, path)


def read_pixels(path: Path, frame: Frame) -> tuple[npt.NDArray[np.uint8], bool]:
    """Decode to the form of all images: (C, H, W), and whether white was laid under transparent pixels.

    Raises:
        UnreadableError: a file that is broken, or that changed since its header was read.
    """
    return _guarded(lambda path: _read_pixels(path, frame), path)


def _guarded(read: Callable[[Path], _Read], path: Path) -> _Read:
    try:
        return read(path)
    except (MemoryError, UnreadableError):
        raise
    # Of a damaged file pillow's decoders raise nearly anything, KeyError and ZeroDivisionError too.
    except Exception as error:
        raise UnreadableError(_why(path, error)) from error


def _why(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "a link to nothing" if path.is_symlink() else "gone"
    if isinstance(error, PermissionError):
        return "not permitted to be read"
    if type(error).__name__ == "UnidentifiedImageError":
        return "no image in a known format" if path.stat().st_size else "an empty file"
    if type(error).__name__ == "DecompressionBombError":
        return _TOO_LARGE
    return str(error).splitlines()[0] if str(error) else type(error).__name__


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    module = require("PIL.Image", extra="compare", who="reading images")
    # By a file, not by its name: pillow maps named files into memory, scrambles sideways grey TIFFs then, and a file
    # that is cut short meanwhile would take the process down.
    with path.open("rb") as file, module.open(file, formats=_FORMATS) as image:
        if image.width * image.height > MOST_PIXELS:
            raise UnreadableError(f"{_TOO_LARGE} ({shape_words(image.size)})")
        yield image


def _read_header(path: Path) -> Header:
    with _open(path) as image:
        orientation = _orientation(image)
        size = (image.height, image.width) if orientation in _SIDEWAYS else (image.width, image.height)
        # Counting the pictures of an animation reads the whole file; that there is a second one does not.
        many = image.format in _MANY_PICTURES and bool(getattr(image, "is_animated", False))
        levels = None
        if image.mode in _DEEP:
            values = _levels(image)
            levels = (float(values.min()), float(values.max()))
        return Header(size, _is_grey(image), orientation in _UPRIGHT, many, levels)


def _orientation(image: Any) -> int:
    if image.format == "TIFF":
        return 1  # pillow turns them itself
    # Of a PNG without EXIF ahead of its pixels pillow would decode all of them to look behind.
    if image.format == "PNG" and not any(name in image.info for name in _EXIF):
        return 1
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    # Metadata is often broken where the picture is fine; viewers then show it as stored.
    except Exception:
        return 1


def _is_grey(image: Any) -> bool:
    if image.mode in ("P", "PA"):
        colours = np.array(image.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
        return bool((colours == colours[:, :1]).all())
    return image.mode in _GREY


def _levels(image: Any) -> npt.NDArray[np.float64]:
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise UnreadableError("pixels that are no numbers")
    return values


def _read_pixels(path: Path, frame: Frame) -> tuple[npt.NDArray[np.uint8], bool]:
    module = require("PIL.Image", extra="compare", who="reading images")
    mode = "L" if frame.grey else "RGB"
    with _open(path) as opened:
        # JPEG can decode at a fraction of its size, eight times faster; twice the side leaves resizing its choice.
        opened.draft(mode, (2 * max(frame.size), 2 * max(frame.size)))
        orientation = _orientation(opened)
        opened.load()  # of a sideways TIFF the size is right only now
        whitened = False
        if opened.mode in _DEEP:
            image = module.fromarray(_to_bytes(_levels(opened), frame.levels))
        else:
            image, whitened = _over_white(module, opened)
        if image.mode in _BY_RGB:
            image = image.convert("RGB")
        if image.mode != mode:
            image = image.convert(mode)
        if orientation in _UPRIGHT:
            image = image.transpose(module.Transpose[_UPRIGHT[orientation]])
        size = fitted(image.size, frame.size)
        if image.size != size:
            whole = all(side % goal == 0 for side, goal in zip(image.size, size, strict=True))
            image = image.resize(size, module.Resampling.BOX if whole else module.Resampling.BICUBIC)
        values = np.asarray(image, dtype=np.uint8)
    return padded(values[None] if frame.grey else values.transpose(2, 0, 1), frame.size), whitened


def _over_white(module: Any, image: Any) -> tuple[Any, bool]:
    """Lay white under an image with transparency; whether any pixel needed it."""
    if image.mode not in ("LA", "PA", "RGBA") and "transparency" not in image.info:
        return image, False
    layer = image.convert("RGBA")
    if layer.getchannel("A").getextrema()[0] == 255:
        return layer.convert("RGB"), False
    white = module.new("RGBA", layer.size, "white")
    white.alpha_composite(layer)
    return white.convert("RGB"), True


def _to_bytes(values: npt.NDArray[np.float64], levels: tuple[float, float] | None) -> npt.NDArray[np.uint8]:
    if levels is None:
        raise UnreadableError("another kind of image than its header said")
    low, high = levels
    scaled = (values - low) * (255 / (high - low)) if high > low else np.zeros_like(values)
    rounded: npt.NDArray[np.uint8] = np.rint(scaled.clip(0, 255)).astype(np.uint8)
    return rounded
