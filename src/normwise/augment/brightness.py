"""Brightness: a constant added to each image."""

from __future__ import annotations

from torch import Tensor

from normwise._optional import require


def brighten(images: Tensor, magnitude: float, draws: Tensor) -> Tensor:
    """Add to each image a number between −magnitude and magnitude; nothing is clipped."""
    enhance = require("kornia.enhance", extra="compare", who="augment")
    brighter: Tensor = enhance.adjust_brightness(images, (2 * draws[0] - 1) * magnitude, clip_output=False)
    return brighter
