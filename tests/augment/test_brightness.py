"""Brightness adds one number per image."""

from __future__ import annotations

import torch

from normwise.augment import build


def test_one_constant_per_image_within_the_magnitude_unclipped() -> None:
    batch = 3 * torch.randn(500, 2, 4, 4, dtype=torch.float64)
    added = build(["brightness:0.4"])(batch, seed=1) - batch
    per_image = added.flatten(1)
    torch.testing.assert_close(per_image, per_image[:, :1].expand_as(per_image))
    assert per_image.abs().max() <= 0.4
    assert per_image.min() < -0.38
    assert per_image.max() > 0.38
