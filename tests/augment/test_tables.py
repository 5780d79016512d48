"""Noise, swap noise and feature dropout: what they draw, for each entry."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from normwise.augment import build


def rows(n: int = 400, f: int = 6) -> Tensor:
    return torch.randn(n, f, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def within(share: float, expected: float, count: int) -> bool:
    return abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / count)


def test_noise_is_normal_of_its_deviation_and_apart_for_each_entry() -> None:
    batch = 100 * torch.ones(500, 40, dtype=torch.float64)
    added = build(["noise:0.3"])(batch, seed=0) - 100
    assert added.std().item() == pytest.approx(0.3, rel=0.02)
    assert added.mean().item() == pytest.approx(0.0, abs=4 * 0.3 / math.sqrt(20_000))
    assert (added.abs() > 0.6).double().mean().item() == pytest.approx(0.0455, abs=0.006)
    assert len(added.unique()) > 19_000


def test_swapped_entries_come_from_another_row_of_their_column() -> None:
    batch = rows()
    result = build(["swap:0.3"])(batch, seed=0)
    changed = result != batch  # continuous values: another row's differs
    assert within(changed.double().mean().item(), 0.3, batch.numel())
    for column in range(batch.shape[1]):
        assert torch.isin(result[:, column], batch[:, column]).all()
        donors = (result[:, column, None] == batch[:, column]).nonzero()[:, 1]
        moved = donors[changed[:, column]]
        assert len(moved.unique()) > 0.7 * len(moved)
    # The columns of a row are swapped apart, from rows apart.
    assert changed.sum(1).unique().tolist() == list(range(changed.sum(1).max() + 1))


def test_swap_of_everything_leaves_no_entry_and_a_lonely_row_stays() -> None:
    batch = rows(50)
    assert (build(["swap:1"])(batch, seed=1) != batch).all()
    lonely = rows(1)
    assert torch.equal(build(["swap:1"])(lonely, seed=1), lonely)


def test_dropped_entries_have_their_columns_mean_and_the_rest_its_unit() -> None:
    batch = rows() + 3
    result = build(["drop:0.2"])(batch, seed=0)
    changed = result != batch
    assert within(changed.double().mean().item(), 0.2, batch.numel())
    assert torch.equal(result, torch.where(changed, batch.mean(0).expand_as(batch), batch))
    everything = build(["drop:1"])(batch, seed=0)
    assert torch.equal(everything, batch.mean(0).expand_as(batch))


def test_operations_on_a_table_go_together_in_their_order() -> None:
    batch = rows(20)
    policy = build(["noise:1e-12", "drop:0.2", "swap:0.5"])
    assert policy.specs == ("swap:0.5", "drop:0.2", "noise:1e-12")
    by_hand = build(["drop:0.2"])(build(["swap:0.5"])(batch, seed=7), seed=7)
    torch.testing.assert_close(policy(batch, seed=7), by_hand, atol=1e-9, rtol=0)
