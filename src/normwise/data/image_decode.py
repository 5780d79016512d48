"""Many image files to one array: in threads, once, and from the cache afterwards."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from normwise._optional import require
from normwise.data import cache
from normwise.data.image_file import Header, UnreadableError, read_header, read_pixels
from normwise.data.image_files import Names
from normwise.data.image_fit import Frame, boxed, common_levels, common_size, target_size
from normwise.data.image_twins import twins
from normwise.data.wording import count, shape_words
from normwise.errors import DataError, explain

MOST_BYTES = 2**32

Broken = Mapping[int, str]
"""Why files cannot be read, by their position."""

Progress = Callable[[int, int], None]
"""Called with the number of images decoded so far, and of all."""

_VERSION = 2
"""To be raised whenever the same files give another result: entries of before are no hits then."""

_PART = 16  # an image that uses less than this part of the range of all loses what is to be seen
_MOST_THREADS = 8  # each may hold an image of 64 million pixels several times over
_BATCH = 4096  # what waits in the queue at once
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, eq=False)
class Pictures:
    """What decoding files gave.

    Attributes:
        pixels: (K, C, H, W), the images that can be read, in the order of their files; read-only.
        broken: the others of the N files.
        twins: groups of files of equal content, among those that can be read.
        notes: what was done to make them equal in form.
        warnings: what was lost by it.
    """

    pixels: npt.NDArray[np.uint8]
    broken: dict[int, str]
    twins: list[list[int]]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def decode(
    folder: Path,
    images: Sequence[Names],
    image_size: int | None,
    *,
    bearable: Callable[[Broken], None],
    progress: Progress | None = None,
) -> Pictures:
    """Decode images below a folder, or take what an earlier call kept of exactly these files.

    Args:
        folder: the folder.
        images: N paths relative to it.
        image_size: the longer side, if asked for.
        bearable: raises if there is no point in going on without the broken files; asked early and late.
        progress: called now and then while images are decoded.

    Raises:
        DataError: what `bearable` raises; more than 4 GiB in all.
    """
    pillow = require("PIL", extra="compare", who="reading images")
    paths = [folder.joinpath(*names) for names in images]
    states = [_state(path) for path in paths]
    key = cache.key_of("images", _VERSION, pillow.__version__, image_size, *zip(images, states, strict=True))
    if (kept := cache.fetch(key)) is not None:
        header, pixels = kept
        broken = {int(position): why for position, why in header["broken"].items()}
        pictures = Pictures(
            pixels, broken, header["twins"], tuple(header["notes"]), tuple(header["warnings"])
        )
    else:
        pictures = _decode(folder, paths, [size for size, *_ in states], image_size, bearable, progress)
        content = {name: getattr(pictures, name) for name in ("broken", "twins", "notes", "warnings")}
        cache.keep(key, content, pictures.pixels)
    bearable(pictures.broken)
    return pictures


def _state(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return -1, -1, -1
    # Archives and copies that keep times give a changed file its old one back; the time of the change is kernel's.
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _decode(
    folder: Path,
    paths: list[Path],
    sizes: list[int],
    image_size: int | None,
    bearable: Callable[[Broken], None],
    progress: Progress | None,
) -> Pictures:
    with warnings.catch_warnings():
        # Once for all threads, which share the filters. Pillow warns of odd metadata, and of sizes where ours is
        # the limit that counts.
        warnings.simplefilter("ignore")
        headers, broken = _each(read_header, paths, None)
        bearable(broken)
        frame, common = _frame(list(headers.values()), image_size)
        pixels = _room(folder, len(headers), frame)
        places = {position: place for place, position in enumerate(headers)}
        whitened = set()

        def fill(position: int) -> None:
            values, white = read_pixels(paths[position], frame)
            pixels[places[position]] = values
            if white:
                whitened.add(position)

        _, late = _each(fill, list(headers), progress)
    broken |= {list(headers)[position]: why for position, why in late.items()}
    whole = [position for position in headers if position not in broken]
    if late:
        for place, position in enumerate(whole):
            pixels[place] = pixels[places[position]]
        pixels = pixels[: len(whole)]
    pixels.flags.writeable = False
    read = [headers[position] for position in whole]
    notes = _notes(read, frame, common, len(whitened))
    same = twins([paths[position] for position in whole], [sizes[position] for position in whole])
    groups = [[whole[index] for index in group] for group in same]
    return Pictures(
        pixels, dict(sorted(broken.items())), groups, tuple(notes), tuple(_flattened(read, frame))
    )


def _each(
    work: Callable[[_Item], _Result], items: Sequence[_Item], progress: Progress | None
) -> tuple[dict[int, _Result], dict[int, str]]:
    """Results, and why there are none, by position. Pillow's decoders run beside each other in threads."""

    def attempt(item: _Item) -> _Result | UnreadableError:
        try:
            return work(item)
        except UnreadableError as error:
            return error

    results: dict[int, _Result] = {}
    broken: dict[int, str] = {}
    threads = min(_MOST_THREADS, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="images")
    try:
        for start in range(0, len(items), _BATCH):
            batch = pool.map(attempt, items[start : start + _BATCH])
            for position, result in enumerate(batch, start):
                if isinstance(result, UnreadableError):
                    broken[position] = str(result)
                else:
                    results[position] = result
                if progress is not None:
                    progress(position + 1, len(items))
    finally:
        # After an interrupt nobody waits for the files that are still in the queue.
        pool.shutdown(cancel_futures=True)
    return results, broken


def _frame(headers: list[Header], image_size: int | None) -> tuple[Frame, tuple[int, int]]:
    common = common_size([header.size for header in headers])
    ranges = [header.levels for header in headers if header.levels is not None]
    levels = common_levels(ranges, alone=len(ranges) == len(headers))
    grey = 2 * sum(header.grey for header in headers) >= len(headers)
    return Frame(target_size(common, image_size), grey, levels), common


def _room(folder: Path, images: int, frame: Frame) -> npt.NDArray[np.uint8]:
    width, height = frame.size
    shape = (images, 1 if frame.grey else 3, height, width)
    if (needed := int(np.prod(shape, dtype=np.int64))) > MOST_BYTES:
        raise DataError(
            explain(
                "load",
                f"the images of {folder} must fit into 4 GiB",
                f"{needed / 2**30:.1f} GiB",
                "give a smaller `image_size`, or fewer images",
            )
        )
    return np.empty(shape, dtype=np.uint8)


def _notes(headers: list[Header], frame: Frame, common: tuple[int, int], whitened: int) -> list[str]:
    notes = []
    others = sum(header.size != common for header in headers)
    if others == len(headers) > 0:
        notes.append(
            f"images of many sizes resized; {shape_words(common)} (width×height) is their median shape"
        )
    elif others:
        notes.append(f"{count(others, 'image')} of other sizes than {shape_words(common)} resized")
    if frame.size != common:
        notes.append(
            f"images of {shape_words(common)} pixels resized to {shape_words(frame.size)} (width×height)"
        )
    if padded := sum(boxed(header.size, frame.size) for header in headers):
        notes.append(
            f"{count(padded, 'image')} of other proportions padded with the colour of the edges, not distorted"
        )
    if converted := sum(header.grey != frame.grey for header in headers):
        notes.append(
            f"{count(converted, 'image')} converted to {'grey' if frame.grey else 'colour'}, as most are"
        )
    if (deep := sum(header.levels is not None for header in headers)) and frame.levels is not None:
        low, high = frame.levels
        notes.append(
            f"{count(deep, 'image')} of more than 8 bits a pixel reduced to 8: "
            f"{low:,.6g} becomes black and {high:,.6g} white in all of them"
        )
    if whitened:
        notes.append(f"{count(whitened, 'image')} with transparency laid over white")
    if turned := sum(header.turned for header in headers):
        notes.append(f"{count(turned, 'image')} turned upright as told by EXIF orientation")
    if many := sum(header.many for header in headers):
        notes.append(
            f"of {count(many, 'file')} with several pictures (animations, pages) the first one taken"
        )
    return notes


def _flattened(headers: list[Header], frame: Frame) -> list[str]:
    """Deep images of which the common range, stretched by few extreme pixels or other units, leaves little."""
    if frame.levels is None:
        return []
    whole = frame.levels[1] - frame.levels[0]
    spans = [header.levels[1] - header.levels[0] for header in headers if header.levels is not None]
    flat = sum(0 < span < whole / _PART for span in spans)
    if not flat:
        return []
    return [
        f"{count(flat, 'image')} of more than 8 bits a pixel left with fewer than {256 // _PART} of 256 shades, "
        "because others reach far wider values: look for single extreme pixels, or files of another unit"
    ]
