"""Cases in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from normwise.bench import run as run_module
from normwise.bench.apart import Order, measure_apart
from normwise.bench.case import own_case
from normwise.bench.conditions import Conditions
from normwise.bench.measure import Method
from normwise.bench.run import Options, benchmark
from normwise.results import CopyBandwidth

CASE = own_case("batch_norm_relu", "8x16")
ORDER = Order(CASE, Method(2, 1e-4, compiled=False), (CopyBandwidth(2**20, 10.0, "L2"),), Conditions(1), None)


def test_a_run_apart_is_as_one_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "working_sets", lambda caches: (2**16,))
    monkeypatch.setattr(run_module, "measure", None)  # nothing is timed here
    cases = [CASE, own_case("dropout", "8x16", mode="evaluation")]
    options = Options(
        compiled=False, jax=False, rounds=2, least_seconds=1e-4, backend="aten", threads=1, apart=True
    )
    record = benchmark(cases, options)
    assert record.apart
    assert [case.name for case in record.cases] == [case.name for case in cases]
    assert [case.backend for case in record.cases] == ["aten", "aten"]
    assert all(case.ratio("eager") for case in record.cases)


def test_what_a_case_prints_does_not_come_between(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Python runs sitecustomize before everything else.
    (tmp_path / "sitecustomize.py").write_text("print('welcome')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = measure_apart(ORDER)
    side = result.side("normwise")
    assert side is not None
    assert "welcome" not in side.error
    assert result.ratio("eager") is not None


def test_a_process_that_dies_is_an_error_in_the_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho starting >&2\necho no memory >&2\nexit 3\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    result = measure_apart(ORDER)
    side = result.side("normwise")
    assert side is not None
    assert (side.milliseconds, side.error) == (None, "its process ended with 3: no memory")
    assert result.name == CASE.name
    assert result.ratio("eager") is None


def test_an_interrupt_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def interrupted(self: subprocess.Popen[bytes], *_: object) -> None:
        started.append(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure_apart(ORDER)
    assert started[0].poll() is not None
