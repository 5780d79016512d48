"""The machine's copy bandwidth over the size of what is copied, and the least time that moving bytes takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from normwise.bench.bursts import Here, calibrate
from normwise.results import CopyBandwidth

MEGABYTE = 2**20
SMALLEST = 256 * 1024
"""Of a smaller working set a call's time is overhead, not bandwidth."""

BURSTS = 7


def working_sets(caches: Mapping[str, int]) -> tuple[int, ...]:
    """Return the sizes that are measured: powers of two from half a megabyte to well beyond the last cache.

    >>> [size // MEGABYTE for size in working_sets({"L3": 128 * MEGABYTE})][-2:]
    [256, 512]
    """
    last = min(1024 * MEGABYTE, max(256 * MEGABYTE, 4 * caches.get("L3", 0)))
    return tuple(2**k for k in range(19, round(math.log2(last)) + 1))


def copy_bandwidth(
    sizes: Sequence[int], caches: Mapping[str, int], threads: int, bursts: int = BURSTS
) -> tuple[CopyBandwidth, ...]:
    """Measure copies from one tensor to another, both mapped before, with torch's threads.

    Args:
        sizes: bytes of source and target together.
        caches: bytes by level, for the label of each size.
        threads: each has a first- and second-level cache of its own.
        bursts: the fastest of so many counts: a limit is what the machine can do, whatever disturbs it.
    """
    found = []
    for size in sizes:
        source = torch.ones(size // 8)
        target = torch.zeros(size // 8)
        side = Here(lambda target=target, source=source: target.copy_(source))  # type: ignore[misc]
        calls = calibrate(side)
        seconds = min(side.burst(calls) for _ in range(bursts))
        found.append(CopyBandwidth(size, size / seconds / 1e9, level(size, caches, threads)))
    return tuple(found)


def faster(first: Sequence[CopyBandwidth], second: Sequence[CopyBandwidth]) -> tuple[CopyBandwidth, ...]:
    """Return the faster of two measurements of the same working sets, size by size.

    >>> faster([CopyBandwidth(8, 3.0, "L2")], [CopyBandwidth(8, 4.0, "L2")])
    (CopyBandwidth(working_set=8, gigabytes_per_second=4.0, level='L2'),)
    """
    pairs = zip(first, second, strict=True)
    return tuple(max(pair, key=lambda point: point.gigabytes_per_second) for pair in pairs)


def level(size: int, caches: Mapping[str, int], threads: int) -> str:
    """Return the level that holds so many bytes, "DRAM" beyond the caches, "" where they are not known.

    >>> level(10**6, {"L1": 32768, "L2": 2**20, "L3": 2**25}, 2), level(10**9, {"L2": 2**20}, 2)
    ('L2', 'DRAM')
    """
    for name, bytes_ in sorted(caches.items()):
        if size <= bytes_ * (threads if name in ("L1", "L2") else 1):
            return name
    return "DRAM" if caches else ""


def fitting(measured: Sequence[CopyBandwidth], working_set: int) -> CopyBandwidth:
    """Return the measurement whose working set is nearest in ratio.

    >>> points = [CopyBandwidth(10, 100.0, "L2"), CopyBandwidth(1000, 20.0, "DRAM")]
    >>> fitting(points, 50).level, fitting(points, 500).level
    ('L2', 'DRAM')
    """
    return min(measured, key=lambda point: abs(math.log(point.working_set / max(1, working_set))))
