"""Settings of malloc last as long as the process, so each is tried in one of its own."""

import dataclasses
import json
import subprocess
import sys
from typing import Any

import pytest

import normwise as nw
from normwise import allocator

_GLIBC = (allocator.allocator() or "").startswith("glibc")

# 48 MiB a tensor: beyond the 32 MiB up to which glibc learns to keep memory by itself.
_FAULTS = """
import json, resource, sys
import torch
from normwise.allocator import tune_allocator

applied = sys.argv[1] == "tuned" and tune_allocator().applied

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        torch.ones(12 * 2**20).mul_(2)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize() / (3 * 48 * 2**20)

first = [faults() for _ in range(4)]  # the heap finds its size
print(json.dumps({"applied": applied, "tensors_mapped": faults()}))
"""


def measured(how: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", _FAULTS, how], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def test_tensors_are_no_longer_mapped_anew() -> None:
    before, after = measured("as it is"), measured("tuned")
    assert after["applied"] == _GLIBC
    if _GLIBC:  # the other systems' answer is the line above
        assert before["tensors_mapped"] > 0.99  # every page of every tensor
        assert after["tensors_mapped"] < 0.01


def test_another_allocator_is_left_alone_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("mallopt was called")

    monkeypatch.setattr(allocator, "_library_of", lambda function: "libjemalloc.so.2")
    monkeypatch.setattr(allocator.ctypes, "CDLL", refuse)
    monkeypatch.setattr(allocator.os, "confstr", lambda name: "glibc 2.36", raising=False)
    result = nw.tune_allocator()
    assert (result.applied, result.allocator) == (False, "libjemalloc.so.2")
    assert "libjemalloc.so.2" in result.note


def test_a_system_without_glibc_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> str:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(allocator.os, "confstr", unknown, raising=False)  # as musl and macOS answer
    result = nw.tune_allocator()
    assert (result.applied, result.allocator) == (False, None)
    assert "another allocator" in result.note


def test_a_refusal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mallopt:
        def __call__(self, option: int, value: int) -> int:
            return 0

    monkeypatch.setattr(allocator, "allocator", lambda: "glibc 2.36")
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: type("Process", (), {"mallopt": Mallopt()}))
    result = nw.tune_allocator()
    assert not result.applied
    assert "refused" in result.note


def test_the_record_is_frozen() -> None:
    record = allocator.AllocatorTuning(False, None, "")
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.applied = True  # type: ignore[misc]
