"""IDX folders, the form of MNIST and its kin: `train-images-idx3-ubyte[.gz]`, its labels, and t10k."""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from normwise.data.contents import ImageContents
from normwise.data.dataset import Dataset, assemble
from normwise.data.split import free_then_test
from normwise.data.task import Task, labelled
from normwise.data.wording import count, listing, shape_words
from normwise.errors import DataError, explain

LARGEST_BYTES = 2**31
"""A file that announces more is refused before any memory is taken."""

_NAME = re.compile(
    r"(?P<set>.*[-_])?(?P<part>train|t10k|test)[-_](?P<what>images|labels)[-.]idx\d-ubyte(\.gz)?"
)
_PARTS = {"train": "train", "t10k": "test", "test": "test"}
_UNSIGNED_BYTE = 8


def is_idx_folder(folder: Path) -> bool:
    """Whether a folder holds files named like IDX files."""
    return any(_NAME.fullmatch(entry.name) for entry in folder.iterdir())


def load_idx(
    folder: Path, *, task: Task | None, name: str | None = None, class_names: tuple[str, ...] | None = None
) -> Dataset:
    """Read an IDX folder; the images of t10k (or test) stay the test part of every split.

    Args:
        folder: holds images and labels of train, and possibly of t10k or test, plain or gzipped.
        task: the task asked for, if any.
        name: name of the data set, the folder's by default.
        class_names: what the labels 0, 1, … mean; the numbers themselves by default.

    Raises:
        DataError: files that are missing, damaged, of another form, or larger than 2 GiB unpacked.
    """
    files = _find(folder)
    train, labels = _pair(files, "train", folder)
    pixels, codes, fixed = train, labels, None
    notes: tuple[str, ...] = ()
    if any(part == "test" for part, _ in files):
        test, test_labels = _pair(files, "test", folder)
        if test.shape[1:] != train.shape[1:]:
            raise DataError(
                explain(
                    "load",
                    f"training and test images of {folder} must have one shape",
                    f"{shape_words(train.shape[1:])} and {shape_words(test.shape[1:])}",
                )
            )
        fixed = free_then_test(len(train), len(test))
        pixels, codes = np.concatenate([train, test]), np.concatenate([labels, test_labels])
        notes = (f"the {len(test):,} test images of the folder are the test part of every split",)
    distinct, indices = np.unique(codes, return_inverse=True)
    names = class_names or tuple(str(value) for value in range(int(distinct[-1]) + 1))
    if distinct[-1] >= len(names):
        raise DataError(
            explain("load", f"labels of {folder} must be below {len(names)}", f"the label {distinct[-1]}")
        )
    used = tuple(names[value] for value in distinct)
    if len(used) < 2:
        raise DataError(
            explain("load", f"{folder} must have at least two classes", f"the label {used[0]} alone")
        )
    return assemble(
        name=name or folder.name,
        source=str(folder),
        kind="image",
        contents=ImageContents(pixels[:, None]),
        target=labelled("label", indices, used, f"the label files name {len(used)} classes", task),
        notes=notes,
        fixed=fixed,
    )


def _find(folder: Path) -> dict[tuple[str, str], Path]:
    files: dict[tuple[str, str], Path] = {}
    for entry in sorted(folder.iterdir()):
        match = _NAME.fullmatch(entry.name)
        if match is None:
            continue
        key = (_PARTS[match["part"]], match["what"])
        previous = files.get(key)
        if previous is None:
            files[key] = entry
        elif previous.name + ".gz" != entry.name:  # the same file plain and gzipped is no contradiction
            raise DataError(
                explain(
                    "load",
                    f"the folder {folder} must hold one IDX data set",
                    listing([previous.name, entry.name]),
                    "put each data set into a folder of its own",
                )
            )
    return files


def _pair(
    files: dict[tuple[str, str], Path], part: str, folder: Path
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    found = {}
    for what, dimensions in (("images", 3), ("labels", 1)):
        if (part, what) not in files:
            raise DataError(
                explain(
                    "load",
                    f"the IDX folder {folder} must have {what} for its {part} part",
                    listing([path.name for path in files.values()]),
                    f"add {part}-{what}-idx{dimensions}-ubyte or its .gz",
                )
            )
        found[what] = read_idx(files[part, what], dimensions=dimensions)
    images, labels = found["images"], found["labels"]
    if len(images) != len(labels):
        raise DataError(
            explain(
                "load",
                f"images and labels of the {part} part of {folder} must be as many",
                f"{count(len(images), 'image')} and {count(len(labels), 'label')}",
            )
        )
    return images, labels


def read_idx(path: Path, *, dimensions: int) -> npt.NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes, plain or gzipped, and check its size against its header.

    Layout: two zero bytes, the type (8: unsigned byte), the number of dimensions, each dimension as a
        big-endian 32-bit number, then the values.

    Raises:
        DataError: a header of another form, or values that are fewer, more, or above 2 GiB.
    """
    length = 4 + 4 * dimensions
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(length)
            if header[:4] != bytes((0, 0, _UNSIGNED_BYTE, dimensions)) or len(header) < length:
                raise DataError(
                    explain(
                        "load",
                        f"{path} must be an IDX file of unsigned bytes in {count(dimensions, 'dimension')}",
                        f"the header {header[:4].hex(' ') or '(empty)'}",
                    )
                )
            shape = struct.unpack(f">{dimensions}I", header[4:])
            expected = math.prod(shape)
            if not 0 < expected <= LARGEST_BYTES:
                raise DataError(
                    explain(
                        "load",
                        f"{path} must hold 1 byte to 2 GiB of values",
                        f"a header of {expected:,} bytes",
                    )
                )
            # One byte more than announced shows a file that is too long without unpacking the rest of it.
            values = file.read(expected + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            explain(
                "load", f"{path} must be readable", str(error) or type(error).__name__, "fetch the file again"
            )
        ) from error
    if len(values) != expected:
        got = "more" if len(values) > expected else f"{len(values):,}"
        raise DataError(
            explain(
                "load",
                f"{path} must hold the {expected:,} bytes that its header names",
                got,
                "fetch it again",
            )
        )
    return np.frombuffer(values, dtype=np.uint8).reshape(shape)
