"""Erasing replaces one box per image by the channels' means."""

from __future__ import annotations

import torch
from torch import Tensor

from normwise.augment import OPERATIONS, build
from normwise.augment.erase import erase


def test_a_known_box() -> None:
    draws = torch.tensor([[1.0], [1.0], [0.5], [0.0]])
    image = torch.arange(64.0).reshape(1, 1, 8, 8)
    erased = erase(image, 0.5, draws)
    expected = image.clone()
    expected[..., 4:, :2] = 31.5
    assert torch.equal(erased, expected)


def boxes(changed: Tensor) -> Tensor:
    return changed.any(-1).sum(-1) * changed.any(-2).sum(-1)


def test_boxes_are_full_within_bounds_and_of_all_places() -> None:
    batch = torch.randn(800, 2, 10, 12)
    changed = (build(["erase:0.5"])(batch, seed=0) != batch).all(1)
    assert torch.equal(boxes(changed), changed.sum((-2, -1)))
    assert changed.any(-1).sum(-1).max() == 5
    assert changed.any(-2).sum(-1).max() == 6
    assert changed[:, 1:-1, 1:-1].any(0).all()
    assert OPERATIONS["erase"].draws == 4
