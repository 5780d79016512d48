"""Amplitude, shifts and masks of sequences (N, C, L)."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from normwise.augment import build
from normwise.augment.timemask import mask_time
from normwise.augment.timeshift import shift_time


def ramps(n: int, channels: int = 2, length: int = 10) -> Tensor:
    return torch.arange(1.0, length + 1, dtype=torch.float64).repeat(n, channels, 1)


def test_amplitude_is_one_factor_for_each_channel() -> None:
    batch = ramps(5000)
    factors = build(["amplitude:0.2"])(batch, seed=0) / batch
    torch.testing.assert_close(factors, factors[..., :1].expand_as(factors))
    first = factors[..., 0]
    assert first.mean().item() == pytest.approx(1.0, abs=4 * 0.2 / math.sqrt(10_000))
    assert first.std().item() == pytest.approx(0.2, rel=0.03)
    assert abs(torch.corrcoef(first.T)[0, 1].item()) < 0.06  # the channels are drawn apart


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        (1.0, [1, 1, 1, 1, 2, 3, 4, 5, 6, 7]),
        (0.0, [4, 5, 6, 7, 8, 9, 10, 10, 10, 10]),
        (0.5, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
    ],
)
def test_shift_by_whole_steps_with_the_ends_repeated(draw: float, expected: list[int]) -> None:
    moved = shift_time(ramps(1), 0.3, torch.tensor([[draw]], dtype=torch.float64))
    assert moved.tolist() == [[[float(v) for v in expected]] * 2]


def test_shift_stays_within_its_magnitude_and_fills_it() -> None:
    batch = torch.zeros(2000, 1, 41)
    batch[..., 20] = 1.0
    places = build(["timeshift:0.2"])(batch, seed=0).argmax(-1)
    assert (places.min().item(), places.max().item()) == (20 - 8, 20 + 8)
    assert len(places.unique()) == 17


def test_a_known_mask() -> None:
    draws = torch.tensor([[1.0], [1.0]], dtype=torch.float64)
    masked = mask_time(ramps(1), 0.4, draws)[0, 0]
    assert masked.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 5.5, 5.5, 5.5, 5.5]


def test_masks_are_one_span_of_all_channels_within_bounds_and_of_all_places() -> None:
    batch = torch.randn(1000, 3, 20, generator=torch.Generator().manual_seed(0))
    hidden = build(["timemask:0.5"])(batch, seed=0) != batch
    assert torch.equal(hidden.all(1), hidden.any(1))
    hidden = hidden[:, 0].int()
    assert (hidden.diff(dim=1, prepend=torch.zeros(1000, 1, dtype=torch.int)) > 0).sum(1).max() == 1
    assert hidden.sum(1).max() == 10
    assert hidden[:, 1:-1].any(0).all()
