"""Dropout's masks: Philox4x32-10, against the published algorithm written a second time."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from normwise.kernels.cpu import _portable

HALF = 32768  # of 65536


def philox(counters: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Philox4x32-10 of counters (n, 4), as (n, 4) words (Salmon, Moraes, Dror & Shaw 2011, figure 3)."""
    mask = np.uint64(0xFFFFFFFF)
    c0, c1, c2, c3 = counters.astype(np.uint64).T
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        high0, high1 = p0 >> np.uint64(32), p1 >> np.uint64(32)
        c0, c1, c2, c3 = high1 ^ c1 ^ np.uint64(k0), p1 & mask, high0 ^ c3 ^ np.uint64(k1), p0 & mask
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack((c0, c1, c2, c3), axis=1)


def draws(seed: int, offset: int, elements: int) -> Tensor:
    """The 16 random bits of each element, in memory order."""
    seed %= 1 << 64
    number = np.arange(elements, dtype=np.uint64)
    counter = number // 128 * 16 + number % 32 // 2
    words = [
        counter % 2**32,
        counter >> 32,
        np.full_like(counter, offset % 2**32),
        np.full_like(counter, offset >> 32),
    ]
    four = philox(np.stack(words, axis=1), (seed % 2**32, seed >> 32))
    word = np.take_along_axis(four, (number // 32 % 4)[:, None].astype(np.int64), axis=1)[:, 0]
    return torch.from_numpy((word >> (16 * (number % 2)) & np.uint64(0xFFFF)).astype(np.int64))


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0,) * 4, (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_the_second_writing_gives_the_published_answers(
    counter: tuple[int, ...], key: tuple[int, int], words: tuple[int, ...]
) -> None:
    assert philox(np.array([counter]), key)[0].tolist() == list(words)


SEEDS = (0, 1, -1, 0x299F31D0A4093822, -(2**63), 2**32)


@pytest.mark.parametrize("elements", [1, 15, 127, 128, 129, 4001])
@pytest.mark.parametrize("offset", [0, 7, 2**32 + 5, 2**64 - 1])
def test_a_mask_is_what_philox_says(raw: ModuleType, isa: str, elements: int, offset: int) -> None:
    for seed in SEEDS:
        drawn = draws(seed, offset, elements)
        for threshold in (0, 1, 6554, HALF - 1, HALF, HALF + 1, 65535):
            bits = raw.keep_bits(1, elements, torch.tensor([seed]), threshold, offset)
            assert torch.equal(raw.unpacked(bits, 1, elements)[0], drawn >= threshold), (seed, threshold)


def test_the_first_published_answer_decides_the_first_elements(raw: ModuleType, isa: str) -> None:
    # Elements 0, 32, 64 and 96 have the low halves of the words of counter 0, the next ones the high halves.
    low, high = (0xE8D5, 0xC58D, 0xAC4C, 0xDBD8), (0x6627, 0xE169, 0xBC57, 0x9B00)
    for half, values in enumerate((low, high)):
        for word, value in enumerate(values):
            kept = [
                raw.unpacked(raw.keep_bits(1, 128, torch.tensor([0]), threshold), 1, 128)[
                    0, 32 * word + half
                ].item()
                for threshold in (value, value + 1)
            ]
            assert kept == [True, False]


def dropped(
    x: Tensor, seeds: Tensor, threshold: int, scale: float, offset: int = 0, over: bool = False
) -> Tensor:
    """Dropout by the kernel of x (K, *)."""
    x = x.clone()
    y = x if over else torch.full_like(x, torch.nan)
    code = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}[x.dtype]
    count = x.numel() // len(seeds)
    _portable.dropout(
        code, len(seeds), count, seeds.data_ptr(), offset, threshold, scale, x.data_ptr(), y.data_ptr()
    )
    return y


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("elements", [1, 31, 128, 1000, 40001])
@pytest.mark.parametrize("past_caches_from", [0, 10**9])
def test_dropout_is_the_mask_times_the_scale(
    raw: ModuleType, isa: str, dtype: torch.dtype, elements: int, past_caches_from: int
) -> None:
    seeds, scale = torch.tensor([11, -12]), 65536 / (65536 - 20000)
    x = torch.randn(2, elements, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    mask = raw.unpacked(raw.keep_bits(2, elements, seeds, 20000), 2, elements)
    wide = x.to(torch.promote_types(dtype, torch.float32))
    factor = torch.tensor(scale, dtype=wide.dtype)
    want = torch.where(mask, wide * factor, torch.zeros_like(wide)).to(dtype)
    with raw.written_past_caches(past_caches_from):
        assert torch.equal(dropped(x, seeds, 20000, scale), want)
        assert torch.equal(dropped(x, seeds, 20000, scale, over=True), want)
        for k in (0, 1):
            assert torch.equal(dropped(x[k : k + 1], seeds[k : k + 1], 20000, scale)[0], want[k])


def test_dropout_writes_nothing_beside_its_tensors(raw: ModuleType, isa: str) -> None:
    seeds = torch.tensor([1])
    for elements in (1, 16, 17, 127, 129, 1000):
        for past_caches in (False, True):
            x, y = (raw.guarded((elements,), torch.float32, aligned=past_caches) for _ in range(2))
            x[0].fill_(1)
            with raw.written_past_caches():
                _portable.dropout(
                    0, 1, elements, seeds.data_ptr(), 0, HALF, 2.0, x[0].data_ptr(), y[0].data_ptr()
                )
            raw.check_guards(x[1], y[1])
            assert ((y[0] == 0) | (y[0] == 2)).all()


def test_nothing_to_drop(raw: ModuleType) -> None:
    assert dropped(torch.empty(2, 0), torch.tensor([1, 2]), HALF, 2.0).shape == (2, 0)
    assert raw.keep_bits(2, 0, torch.tensor([1, 2]), HALF).numel() == 16


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.9])
def test_the_rate_and_the_independence_of_neighbours(raw: ModuleType, rate: float) -> None:
    count, threshold = 1_000_000, round(rate * 65536)
    kept = torch.stack(
        [raw.unpacked(raw.keep_bits(1, count, torch.tensor([s]), threshold), 1, count)[0] for s in (3, 4)]
    )
    chance = 1 - threshold / 65536
    centred = (kept.double() - chance) / (chance * (1 - chance)) ** 0.5
    # Each is a mean of a million terms of variance 1: five standard deviations.
    most = 5 / count**0.5
    assert centred.mean(1).abs().max() < most
    assert (centred[0] * centred[1]).mean().abs() < most
    for lag in (1, 2, 16, 31, 32, 64, 128, 1024):
        assert (centred[0, :-lag] * centred[0, lag:]).mean().abs() < most, lag


def test_other_offsets_and_seeds_give_other_masks(raw: ModuleType) -> None:
    seeds = torch.tensor([5])
    masks = [raw.keep_bits(1, 1280, seeds, HALF, offset)[:160] for offset in (0, 1, 2**32)]
    masks += [raw.keep_bits(1, 1280, torch.tensor([seed]), HALF)[:160] for seed in (6, 5 + 2**32)]
    distinct = {tuple(mask.tolist()) for mask in masks}
    assert len(distinct) == len(masks)
