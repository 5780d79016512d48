"""Results are equal, bit for bit, for any number of threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from normwise.kernels.cpu import _portable

# Units that are dealt out whole and in parts, columns of few and of many rows, tiles, and rests of all of them.
SIZES = {
    "few units": {"samples": 6, "channels": 4, "positions": 9001, "groups": 1},
    "many units": {"samples": 67, "channels": 34, "positions": 60},
    "no positions": {"samples": 1333, "channels": 130, "positions": 1},
}
Set = Callable[[int], None]


def equal(one: Any, other: Any) -> bool:
    """Whether all tensors of two records agree bit for bit; a NaN equals a NaN."""
    pairs = [(value, getattr(other, name)) for name, value in vars(one).items() if value is not None]
    return all(torch.equal(bits(a), bits(b)) for a, b in pairs)


def bits(tensor: Tensor) -> Tensor:
    kinds = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.reshape(-1).view(kinds[tensor.element_size()])


def test_the_comparison_sees_one_bit(raw: ModuleType) -> None:
    problem = raw.Problem()
    one, other = (raw.run(problem, raw.drawn(problem)) for _ in range(2))
    assert equal(one, other)
    other.dx.view(-1)[5] += torch.finfo(torch.float32).eps * other.dx.view(-1)[5].abs()
    assert not equal(one, other)


@pytest.fixture
def counts() -> tuple[int, ...]:
    """Numbers of threads; the last is not what the parts divide into, and more than small machines have."""
    return (1, 2, 7)


def test_the_kernels_use_as_many_threads_as_torch(threads: Set, counts: tuple[int, ...]) -> None:
    assert _portable.OPENMP
    for count in counts:
        threads(count)
        assert _portable.threads() == count


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("family", ["across", "group", "layer"])
def test_normalization(
    raw: ModuleType,
    isa: str,
    threads: Set,
    counts: tuple[int, ...],
    family: str,
    layout: str,
    sizes: dict[str, int],
) -> None:
    problem = raw.Problem(family, layout, **sizes, activation="relu", residual=True, rate=0.3)
    values, results = raw.drawn(problem), []
    for count in counts:
        threads(count)
        results.append(raw.run(problem, values))
    assert all(equal(results[0], other) for other in results[1:])


@pytest.mark.parametrize("layout", ["first", "last"])
def test_weighted_statistics_and_moments(
    raw: ModuleType, threads: Set, counts: tuple[int, ...], layout: str
) -> None:
    problem = raw.Problem(layout=layout, samples=67, channels=10, positions=90, weighted=True)
    values, results = raw.drawn(problem), []
    for count in counts:
        threads(count)
        whole = raw.run(problem, values)
        moments = torch.zeros(21, dtype=torch.float64)
        at = moments.data_ptr()
        _portable.moments(
            0, raw.LAYOUTS.index(layout), 67, 10, 90, values.x.data_ptr(), 0, at, at + 8, at + 88
        )
        whole.seeds = moments
        results.append(whole)
    assert all(equal(results[0], other) for other in results[1:])


def test_dropout_and_penalties(raw: ModuleType, threads: Set, counts: tuple[int, ...]) -> None:
    x, seeds = torch.randn(3, 70001, generator=torch.Generator().manual_seed(1)), torch.tensor([1, 2, 3])
    results = []
    for count in counts:
        threads(count)
        dropped, sloped, shrunk = torch.empty_like(x), torch.empty_like(x), x.clone()
        _portable.dropout(0, 3, 70001, seeds.data_ptr(), 0, 20000, 1.5, x.data_ptr(), dropped.data_ptr())
        sums = _portable.penalty(0, x.numel(), x.data_ptr(), sloped.data_ptr(), 0.1, 0.2, 0)
        _portable.proximal(0, x.numel(), shrunk.data_ptr(), 0.1, 0.2)
        results.append((raw.keep_bits(3, 70001, seeds, 20000), dropped, sloped, shrunk, torch.tensor(sums)))
    for other in results[1:]:
        assert all(torch.equal(bits(a), bits(b)) for a, b in zip(results[0], other, strict=True))


def test_python_threads_do_not_disturb_each_other(raw: ModuleType) -> None:
    problems = [
        raw.Problem(family, layout, samples, 34, 40, activation="relu", residual=True, rate=0.3)
        for family in raw.FAMILIES
        for layout in raw.LAYOUTS
        for samples in (2, 40)
    ]
    alone = [raw.run(problem, raw.drawn(problem)) for problem in problems]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda problem: raw.run(problem, raw.drawn(problem)), problems * 4))
    assert all(equal(one, other) for one, other in zip(alone * 4, together, strict=True))
