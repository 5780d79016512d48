"""The one form that all images of a data set take: size, grey or colour, and the range of deep ones.

Sizes are (width, height); pixels are (C, H, W).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LONGEST_SIDE = 64
"""Larger images are reduced to this unless told otherwise: comparisons train many small networks."""

MOST_DISTORTION = 1.3
"""An image is stretched by at most this along one side; others are fitted and padded."""

_COMMON = 0.25  # the share of images from which on their size is that of the data set
_BITS = (8, 10, 12, 14, 16)


@dataclass(frozen=True)
class Frame:
    """The form of all images.

    Attributes:
        size: width and height.
        grey: one channel, or three.
        levels: the values of deep images that become 0 and 255; None if there are none.
    """

    size: tuple[int, int]
    grey: bool
    levels: tuple[float, float] | None


def common_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The commonest size; the median shape where a quarter of the images or fewer have one size.

    >>> common_size([(4, 2), (4, 2), (9, 9)]), common_size([(10, 10), (20, 20), (30, 30), (40, 20), (80, 40)])
    ((4, 2), (30, 30))
    """
    common, frequency = Counter(sizes).most_common(1)[0]
    if frequency > 1 and frequency >= _COMMON * len(sizes):
        return common
    sides = np.array(sizes, dtype=np.float64)
    longer = float(np.median(sides.max(axis=1)))
    aspect = float(np.exp(np.median(np.log(sides[:, 0] / sides[:, 1]))))
    width, height = (longer, longer / aspect) if aspect >= 1 else (longer * aspect, longer)
    return max(1, round(width)), max(1, round(height))


def target_size(common: tuple[int, int], image_size: int | None) -> tuple[int, int]:
    """The size of all images: the common one, its longer side at most 64, or `image_size`.

    >>> target_size((128, 64), None), target_size((20, 10), None), target_size((20, 10), 40)
    ((64, 32), (20, 10), (40, 20))
    """
    longer = max(common)
    goal = image_size or min(longer, LONGEST_SIDE)
    width, height = (max(1, round(side * goal / longer)) for side in common)
    return width, height


def common_levels(ranges: Sequence[tuple[float, float]], *, alone: bool) -> tuple[float, float] | None:
    """The values of deep images that become 0 and 255: one range for all, or their scale would tell classes apart.

    Where all images are deep (`alone`) it is the range that they use. Beside 8-bit images, whose white is 255,
    it starts at zero and ends where 8, 10, 12, 14 or 16 bits do (or at 1, for fractions).

    >>> common_levels([(7, 900), (3, 4000)], alone=True), common_levels([(7, 900), (3, 4000)], alone=False)
    ((3, 4000), (0.0, 4095.0))
    """
    if not ranges:
        return None
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    if alone or low < 0 or high > 2 ** _BITS[-1] - 1:
        return low, high
    return 0.0, 1.0 if high <= 1 else float(next(2**bits - 1 for bits in _BITS if high <= 2**bits - 1))


def distorted(size: tuple[int, int], frame: tuple[int, int]) -> bool:
    """Whether stretching an image to the frame would distort it more than 1.3 times.

    >>> distorted((64, 50), (64, 64)), distorted((64, 40), (64, 64))
    (False, True)
    """
    ratio = size[0] * frame[1] / (size[1] * frame[0])
    return not 1 / MOST_DISTORTION <= ratio <= MOST_DISTORTION


def boxed(size: tuple[int, int], frame: tuple[int, int]) -> bool:
    """Whether an image is padded: of other proportions, and not so narrow that one pixel is the least anyway.

    >>> boxed((64, 40), (64, 64)), boxed((64, 64), (64, 64)), boxed((900, 3), (64, 1))
    (True, False, False)
    """
    return fitted(size, frame) != frame


def fitted(size: tuple[int, int], frame: tuple[int, int]) -> tuple[int, int]:
    """The size that an image is brought to before padding: the frame, or what fits into it.

    >>> fitted((70, 64), (64, 64)), fitted((128, 64), (64, 64))
    ((64, 64), (64, 32))
    """
    if not distorted(size, frame):
        return frame
    scale = min(frame[0] / size[0], frame[1] / size[1])
    width, height = (min(goal, max(1, round(side * scale))) for side, goal in zip(size, frame, strict=True))
    return width, height


def padded(pixels: npt.NDArray[np.uint8], frame: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Centre an image in the frame, on the mean colour of the two edges that meet the padding.

    Paper stays white and a night sky black; repeated pixels would draw stripes that are in no picture.
    """
    channels, height, width = pixels.shape
    if (width, height) == frame:
        return pixels
    edges = []
    if height < frame[1]:
        edges += [pixels[:, 0], pixels[:, -1]]
    if width < frame[0]:
        edges += [pixels[:, :, 0], pixels[:, :, -1]]
    colour = np.rint(np.concatenate(edges, axis=1).mean(axis=1)).astype(np.uint8)
    canvas = np.empty((channels, frame[1], frame[0]), dtype=np.uint8)
    canvas[:] = colour[:, None, None]
    top, left = (frame[1] - height) // 2, (frame[0] - width) // 2
    canvas[:, top : top + height, left : left + width] = pixels
    return canvas
