from __future__ import annotations

import gc
import math
from pathlib import Path

import pytest

from normwise.bench.bandwidth import copy_bandwidth, fitting, level, working_sets
from normwise.bench.bursts import MOST_CALLS, Here, alternate, calibrate, spread
from normwise.bench.machine import caches, cores, machine
from normwise.bench.quiet import Watch
from normwise.results import CopyBandwidth, Spread


class _Clock:
    """A side whose calls take a time of our choosing."""

    def __init__(self, name: str, seconds: float, told: list[str]) -> None:
        self.name, self.seconds, self.told = name, seconds, told
        self.counts: list[int] = []

    def burst(self, calls: int) -> float:
        self.told.append(self.name)
        self.counts.append(calls)
        return self.seconds


def test_sides_take_turns_and_who_begins_moves_on() -> None:
    told: list[str] = []
    sides = {name: _Clock(name, 0.5, told) for name in "abc"}
    for side in sides.values():
        calibrate(side)
    told.clear()
    times = alternate(sides, 4)
    rounds = told[-12:]
    assert ["".join(rounds[i : i + 3]) for i in range(0, 12, 3)] == ["abc", "bca", "cab", "abc"]
    assert times == {name: [0.5] * 4 for name in "abc"}


@pytest.mark.parametrize(
    ("seconds", "calls"), [(0.5, 1), (0.02, 1), (0.003, 7), (1e-4, 200), (1e-9, MOST_CALLS)]
)
def test_a_burst_is_long_enough_to_be_timed(seconds: float, calls: int) -> None:
    assert calibrate(_Clock("a", seconds, []), 0.02) == calls


def test_no_garbage_is_collected_within_a_burst() -> None:
    seen: list[bool] = []
    side = Here(lambda: seen.append(gc.isenabled()))
    assert gc.isenabled()
    assert side.burst(3) > 0
    assert seen == [False] * 3
    assert gc.isenabled()


def test_collection_goes_on_after_a_call_that_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        Here(lambda: print(1 / 0)).burst(1)
    assert gc.isenabled()


def test_one_burst_has_no_quartiles() -> None:
    assert spread([2.0]) == Spread(2.0, 2.0, 2.0)


def test_copies_are_counted_in_both_directions() -> None:
    points = copy_bandwidth((2**16, 2**18), {"L2": 2**17}, 1, bursts=2)
    assert [(point.working_set, point.level) for point in points] == [(2**16, "L2"), (2**18, "DRAM")]
    # From a microcontroller to well beyond any machine there is: a wrong unit would be out.
    assert all(0.05 < point.gigabytes_per_second < 20_000 for point in points)


def test_working_sets_reach_well_beyond_the_last_cache() -> None:
    assert max(working_sets({})) == 2**28
    assert max(working_sets({"L3": 2**27})) == 2**29
    assert max(working_sets({"L3": 2**31})) == 2**30


def test_a_cache_of_each_core_counts_for_every_thread() -> None:
    sizes = {"L2": 100, "L3": 1000}
    assert [level(150, sizes, threads) for threads in (1, 2)] == ["L3", "L2"]
    assert level(5000, sizes, 2) == "DRAM"
    assert level(5000, {}, 2) == ""


def test_the_bandwidth_of_the_nearest_size_counts() -> None:
    points = [CopyBandwidth(2**k, float(k), "") for k in (20, 24, 28)]
    assert [fitting(points, 2**k).gigabytes_per_second for k in (10, 21, 23, 27, 40)] == [20, 20, 24, 28, 28]


def test_caches_are_read_as_the_system_writes_them(tmp_path: Path) -> None:
    entries = (
        ("1", "Data", "32K"),
        ("1", "Instruction", "64K"),
        ("3", "Unified", "32M"),
        ("2", "Unified", "?"),
    )
    for i, entry in enumerate(entries):
        folder = tmp_path / "cpu0" / "cache" / f"index{i}"
        folder.mkdir(parents=True)
        for name, text in zip(("level", "type", "size"), entry, strict=True):
            (folder / name).write_text(f"{text}\n")
    assert caches(tmp_path) == {"L1": 2**15, "L3": 2**25}
    assert caches(tmp_path / "nowhere") == {}


def test_the_machine_is_described_without_its_name() -> None:
    about = machine()
    assert about.cores == cores() >= 1
    assert about.threads >= 1
    assert about.isa
    assert about.versions["torch"]


def test_own_work_is_not_that_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two processors, four seconds on the wall: five busy seconds in all, three of them ours.
    counts = iter([(10.0, 2.0, 2), (15.0, 5.0, 2)])
    clock = iter([0.0, 4.0])
    monkeypatch.setattr(Watch, "_counts", lambda self: next(counts))
    monkeypatch.setattr("normwise.bench.quiet.time.perf_counter", lambda: next(clock))
    share = Watch().others()
    assert share is not None
    assert math.isclose(share, 0.25)
