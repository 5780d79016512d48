"""The data as read, before any split: nothing here has seen a statistic.

Index convention: N rows, F numeric columns, C channels, H × W pixels.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Categorical:
    """A column of words: `codes` (N,) index into `categories`, −1 where the value is missing."""

    name: str
    codes: npt.NDArray[np.int64]
    categories: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class TableContents:
    """Numeric columns as one (N, F) float64 block, NaN where missing, and categorical ones beside it."""

    names: tuple[str, ...]
    numeric: npt.NDArray[np.float64]
    categorical: tuple[Categorical, ...] = ()

    @property
    def rows(self) -> int:
        """Number of rows N."""
        return len(self.numeric)

    def take(self, rows: Rows) -> TableContents:
        """The contents of some rows."""
        words = tuple(Categorical(c.name, c.codes[rows], c.categories) for c in self.categorical)
        return TableContents(self.names, self.numeric[rows], words)

    def feed(self, digest: hashlib._Hash) -> None:
        """Feed everything that determines the inputs to a hash."""
        feed_array(digest, self.numeric)
        digest.update(repr(self.names).encode())
        for column in self.categorical:
            digest.update(repr((column.name, column.categories)).encode())
            feed_array(digest, column.codes)


@dataclass(frozen=True, eq=False)
class ImageContents:
    """Images (N, C, H, W), as uint8 (0 to 255) or as float32 in whatever scale they came."""

    pixels: npt.NDArray[np.uint8] | npt.NDArray[np.float32]

    @property
    def rows(self) -> int:
        """Number of images N."""
        return len(self.pixels)

    def take(self, rows: Rows) -> ImageContents:
        """The images of some rows."""
        return ImageContents(self.pixels[rows])

    def feed(self, digest: hashlib._Hash) -> None:
        """Feed everything that determines the inputs to a hash."""
        feed_array(digest, self.pixels)


Contents = TableContents | ImageContents


def feed_array(digest: hashlib._Hash, array: npt.NDArray[np.generic]) -> None:
    """Feed type, shape and values of an array to a hash."""
    digest.update(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
