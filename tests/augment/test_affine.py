"""Affine operations do what their names say, in pixels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from normwise.augment import OPERATIONS, build
from normwise.augment.affine import matrices, move


def middle(name: str, n: int = 1) -> dict[str, Tensor]:
    draws = {key: torch.full((op.draws, n), 0.5, dtype=torch.float64) for key, op in OPERATIONS.items()}
    assert name in draws
    return draws


def spot(h: int, w: int, y: int, x: int) -> Tensor:
    image = torch.zeros(1, 1, h, w, dtype=torch.float64)
    image[0, 0, y, x] = 1.0
    return image


def where(image: Tensor) -> tuple[int, int]:
    index = int(image.flatten().argmax())
    return index // image.shape[-1], index % image.shape[-1]


def test_shift_moves_a_marked_pixel_by_its_share_of_width_and_height() -> None:
    draws = middle("shift")
    draws["shift"][0], draws["shift"][1] = 1.0, 0.0
    moved = move(spot(12, 8, 5, 3), {"shift": 0.25}, draws)
    torch.testing.assert_close(moved, spot(12, 8, 5 - 3, 3 + 2), atol=1e-9, rtol=0)


def test_shift_repeats_the_border() -> None:
    image = torch.arange(8.0, dtype=torch.float64).expand(1, 1, 4, 8)
    draws = middle("shift")
    draws["shift"][0] = 1.0
    moved = move(image, {"shift": 0.25}, draws)
    torch.testing.assert_close(moved[0, 0, 0], torch.tensor([0, 0, 0, 1, 2, 3, 4, 5.0], dtype=torch.float64))


def test_shift_stays_within_its_magnitude_and_fills_it() -> None:
    n, w, h = 4000, 10, 20
    batch = torch.zeros(n, 1, h, w)
    draws = {key: torch.rand(op.draws, n) for key, op in OPERATIONS.items()}
    shift = matrices(batch, {"shift": 0.2}, draws)[:, :, 2]
    for axis, reach in ((0, 2.0), (1, 4.0)):
        assert shift[:, axis].abs().max() <= reach
        assert shift[:, axis].min() < -0.95 * reach
        assert shift[:, axis].max() > 0.95 * reach


def test_rotation_turns_by_degrees_about_the_centre_also_when_not_square() -> None:
    draws = middle("rotate")
    draws["rotate"][0] = 1.0
    turned = move(spot(7, 11, 3, 8), {"rotate": 90.0}, draws)
    # Three to the right of the centre (3, 5) becomes three above it.
    torch.testing.assert_close(turned, spot(7, 11, 0, 5), atol=1e-9, rtol=0)
    draws["rotate"][0] = 0.75
    matrix = matrices(spot(7, 11, 0, 0), {"rotate": 30.0}, draws)[0]
    angle = math.radians(15)
    expected = [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
    torch.testing.assert_close(matrix[:, :2], torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(("draw", "factor"), [(1.0, 2.0), (0.0, 0.5), (0.5, 1.0)])
def test_scale_magnifies_about_the_centre(draw: float, factor: float) -> None:
    draws = middle("scale")
    draws["scale"][0] = draw
    ramp = torch.arange(-4.0, 5.0, dtype=torch.float64).expand(1, 1, 9, 9)
    scaled = move(ramp, {"scale": 1.0}, draws)
    torch.testing.assert_close(scaled, (ramp / factor).clamp(-4, 4))


@pytest.mark.parametrize(("place", "start"), [(0.0, 0), (1.0, 4), (0.5, 2)])
def test_crop_enlarges_a_window_that_lies_inside(place: float, start: int) -> None:
    draws = middle("crop")
    draws["crop"][0], draws["crop"][1] = 1.0, place
    ramp = torch.arange(8.0, dtype=torch.float64).expand(1, 1, 8, 8)
    cropped = move(ramp, {"crop": 0.5}, draws)[0, 0, 0]
    # Four of eight columns over eight: two samples a column, at a quarter to either side of its middle.
    expected = torch.arange(8, dtype=torch.float64) / 2 + start - 0.25
    torch.testing.assert_close(cropped, expected.clamp(0, 7))


def test_flip_mirrors_exactly_and_as_often_as_asked() -> None:
    batch = torch.rand(2000, 1, 2, 5)
    result = build(["flip:0.3"])(batch, seed=0)
    mirrored = (result == batch.flip(-1)).flatten(1).all(1)
    kept = (result == batch).flatten(1).all(1)
    assert (mirrored ^ kept).all()
    assert mirrored.float().mean().item() == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / 2000))


def test_flip_within_a_warp_is_the_same_flip() -> None:
    batch = torch.rand(64, 2, 6, 7, dtype=torch.float64)
    alone = build(["flip"])(batch, seed=2)
    together = build(["flip", "rotate:1e-9"])(batch, seed=2)
    torch.testing.assert_close(together, alone, atol=1e-7, rtol=0)


def test_flip_comes_before_the_shift() -> None:
    draws = middle("flip")
    draws["flip"][0], draws["shift"][0] = 0.0, 1.0
    moved = move(spot(4, 8, 1, 1), {"flip": 1.0, "shift": 0.125}, draws)
    assert where(moved) == (1, 7)
    torch.testing.assert_close(moved, spot(4, 8, 1, 7), atol=1e-9, rtol=0)
