"""Flip, scale, rotation, shift and crop as one affine map per image.

Pixel coordinates: x to the right, y down, the centre c of the image as origin. A point p of the image goes
to ``p' = (s·R·F·p + t − o) / f``: F mirrors x, R turns, s magnifies, t shifts, and the crop enlarges a
window of relative size f whose centre lies at o.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from normwise._optional import require

AFFINE = frozenset({"flip", "shift", "rotate", "scale", "crop"})


def move(images: Tensor, wanted: Mapping[str, float], draws: Mapping[str, Tensor]) -> Tensor:
    """Return the images under their affine maps: bilinear, the border's pixels repeated outside."""
    if AFFINE.intersection(wanted) == {"flip"}:
        # Mirroring alone moves pixels onto pixels: no interpolation, a fifth of the time.
        mirrored = draws["flip"][0] < wanted["flip"]
        return torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    return warp(images, matrices(images, wanted, draws))


def warp(images: Tensor, maps: Tensor) -> Tensor:
    """Return the images under affine maps (N, 2, 3) of pixels: bilinear, the border's pixels repeated outside."""
    transform = require("kornia.geometry.transform", extra="compare", who="augment")
    moved: Tensor = transform.warp_affine(
        images,
        maps,
        (images.shape[-2], images.shape[-1]),
        mode="bilinear",
        padding_mode="border",
        align_corners=True,
    )
    return moved


def matrices(images: Tensor, wanted: Mapping[str, float], draws: Mapping[str, Tensor]) -> Tensor:
    """Return for each image the 2 × 3 matrix that takes pixel (x, y, 1) of the image to its new place."""
    height, width = images.shape[-2:]
    one = images.new_ones(len(images))
    zero = torch.zeros_like(one)
    mirror, angle, magnify, window = one, zero, one, one
    shift_x, shift_y, offset_x, offset_y = zero, zero, zero, zero
    if "flip" in wanted:
        mirror = torch.where(draws["flip"][0] < wanted["flip"], -1.0, one)
    if "rotate" in wanted:
        angle = _signed(draws["rotate"][0]) * math.radians(wanted["rotate"])
    if "scale" in wanted:
        magnify = (_signed(draws["scale"][0]) * math.log1p(wanted["scale"])).exp()
    if "shift" in wanted:
        shift_x = _signed(draws["shift"][0]) * (wanted["shift"] * width)
        shift_y = _signed(draws["shift"][1]) * (wanted["shift"] * height)
    if "crop" in wanted:
        window = 1 - draws["crop"][0] * wanted["crop"]
        offset_x = _signed(draws["crop"][1]) * (1 - window) * (width / 2)
        offset_y = _signed(draws["crop"][2]) * (1 - window) * (height / 2)
    cos, sin = angle.cos() * magnify / window, angle.sin() * magnify / window
    linear = torch.stack([cos * mirror, sin, -sin * mirror, cos], dim=-1).view(-1, 2, 2)
    relative = torch.stack([shift_x - offset_x, shift_y - offset_y], dim=-1) / window[:, None]
    return about_centre(images, linear, relative)


def about_centre(images: Tensor, linear: Tensor, moved: Tensor) -> Tensor:
    """Return (N, 2, 3) maps that apply `linear` (N, 2, 2) about the images' centre and then move by (N, 2) pixels."""
    height, width = images.shape[-2:]
    centre = images.new_tensor([(width - 1) / 2, (height - 1) / 2])
    return torch.cat([linear, (moved + centre - linear @ centre)[:, :, None]], dim=-1)


def _signed(uniform: Tensor) -> Tensor:
    return 2 * uniform - 1
