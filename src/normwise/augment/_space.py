"""What the automatic policies choose from: operations on images between 0 and 1, by a level between 0 and 1.

A level is 0 for no change and 1 for the strongest of the policy's range; a sign is +1 or −1. Colours follow PIL, over
kornia's functions; outside of an image its border's pixels are repeated, where the papers' code fills with grey.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from normwise._optional import require
from normwise.augment.affine import about_centre, warp

Step = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(images, levels, signs) → images; levels and signs are (N,)."""

_COLOURED = 3
_KERNEL = 3
_ROUNDING = 0.01 / 255


@dataclass(frozen=True)
class Reach:
    """What level 1 stands for.

    Attributes:
        shear: pixels aside per pixel.
        translate: share of the side.
        rotate: degrees.
        enhance: distance of a factor from 1.
        bits: how many of eight bits posterizing takes away.
    """

    shear: float
    translate: float
    rotate: float
    enhance: float
    bits: int


def geometric(reach: Reach) -> dict[str, Step]:
    """Shears, translations and rotation."""
    return {
        "shear_x": lambda x, level, sign: _sheared(x, level * sign * reach.shear, 0),
        "shear_y": lambda x, level, sign: _sheared(x, level * sign * reach.shear, 1),
        "translate_x": lambda x, level, sign: _translated(x, level * sign * reach.translate, 0),
        "translate_y": lambda x, level, sign: _translated(x, level * sign * reach.translate, 1),
        "rotate": lambda x, level, sign: _rotated(x, level * sign * math.radians(reach.rotate)),
    }


def tonal(reach: Reach) -> dict[str, Step]:
    """Operations on each channel's scale of values."""
    return {
        "posterize": lambda x, level, _: _posterized(x, 8 - (level * reach.bits).round()),
        # White itself lies below the threshold of level 0: there nothing is inverted.
        "solarize": lambda x, level, _: _enhance().solarize(x, (1 - level) * (256 / 255)),
        "autocontrast": lambda x, *_: _autocontrast(x),
        "equalize": lambda x, *_: _enhance().equalize(_snapped(x)),
    }


def enhancing(reach: Reach) -> dict[str, Step]:
    """Blends of an image with its black, grey, mean and smoothed forms, by factors about 1."""

    def factor(level: Tensor, sign: Tensor) -> Tensor:
        return 1 + level * sign * reach.enhance

    return {
        "brightness": lambda x, *s: _enhance().adjust_brightness_accumulative(x, factor(*s)),
        "contrast": lambda x, *s: _enhance().adjust_contrast_with_mean_subtraction(x, factor(*s)),
        "color": lambda x, *s: _colored(x, factor(*s)),
        "sharpness": lambda x, *s: _sharpened(x, factor(*s)),
    }


def apply_each(
    images: Tensor, steps: Mapping[str, Step], choice: Tensor, level: Tensor, sign: Tensor
) -> Tensor:
    """Apply to each image the step of its choice; a choice beyond the steps leaves it as it is.

    Args:
        images: (N, C, H, W) between 0 and 1.
        steps: by name.
        choice: (N,) numbers of steps.
        level: (N,) in 0 … 1.
        sign: (N,) of +1 and −1.
    """
    result = images.clone()
    for number, step in enumerate(steps.values()):
        rows = (choice == number).nonzero()[:, 0]
        if len(rows):
            result[rows] = step(images[rows], level[rows], sign[rows])
    return result


def _enhance() -> Any:
    return require("kornia.enhance", extra="compare", who="augment")


def _sheared(images: Tensor, slope: Tensor, axis: int) -> Tensor:
    linear = torch.eye(2).to(images).repeat(len(images), 1, 1)
    linear[:, axis, 1 - axis] = slope
    return warp(images, about_centre(images, linear, images.new_zeros(len(images), 2)))


def _translated(images: Tensor, share: Tensor, axis: int) -> Tensor:
    moved = images.new_zeros(len(images), 2)
    moved[:, axis] = share * images.shape[-1 - axis]
    return warp(images, about_centre(images, torch.eye(2).to(images).repeat(len(images), 1, 1), moved))


def _rotated(images: Tensor, angle: Tensor) -> Tensor:
    cos, sin = angle.cos(), angle.sin()
    linear = torch.stack([cos, sin, -sin, cos], dim=-1).view(-1, 2, 2)
    return warp(images, about_centre(images, linear, images.new_zeros(len(images), 2)))


def _posterized(images: Tensor, bits: Tensor) -> Tensor:
    posterized = _enhance().posterize(_snapped(images), bits.int())
    return torch.where((bits < 8)[:, None, None, None], posterized, images)


def _snapped(images: Tensor) -> Tensor:
    # kornia cuts to whole grey levels. A pixel that was one comes back from its standardisation a little below it as
    # often as above, and would lose as much as half of the range.
    return (images + _ROUNDING).clamp(max=1)


def _autocontrast(images: Tensor) -> Tensor:
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    stretched = (images - low) / torch.where(high > low, high - low, 1.0)
    return torch.where(high > low, stretched, images)


def _colored(images: Tensor, factor: Tensor) -> Tensor:
    if images.shape[1] != _COLOURED:
        return images  # one channel is grey, and other numbers are no colours
    colored: Tensor = _enhance().adjust_saturation_with_gray_subtraction(images, factor)
    return colored


def _sharpened(images: Tensor, factor: Tensor) -> Tensor:
    if min(images.shape[-2:]) < _KERNEL:
        return images
    sharpened: Tensor = _enhance().sharpness(images, factor)
    return sharpened
