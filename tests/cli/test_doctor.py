"""What the doctor finds, from facts that are made up; and one look at the machine that runs the tests."""

from __future__ import annotations

import dataclasses
import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from normwise.cli import doctor_facts, doctor_probe
from normwise.cli.doctor_facts import Facts, usable_cores
from normwise.cli.doctor_findings import findings

Cli = Callable[..., Any]

WELL = Facts(
    versions={"python": "3.11.0", "normwise": "0.1.0", "torch": "2.13.0", "numpy": "2.0.0"},
    cpu="a CPU, x86_64",
    cores=4,
    variables={},
    allocator="glibc 2.36",
    compiler="/usr/bin/c++",
    checkout=False,
    missing={"compare": [], "dev": ["mypy", "ruff"]},
    loaded={
        "torch": {"version": "2.13.0", "isa": "AVX2", "threads": 4},
        "portable": {"path": "/p/_portable.so", "isa": "avx2", "best": "avx2", "openmp": True},
        "native": {"path": "/c/_native.so", "onednn": True},
        "pools": {"pools": ["/torch/lib/libgomp.so.1"]},
    },
)


def ill(**changes: Any) -> Facts:
    """The facts with some steps of the probe changed, or other fields."""
    steps = {name: changes.pop(name) for name in doctor_probe.STEPS if name in changes}
    loaded = {name: steps.get(name, fact) for name, fact in WELL.loaded.items()}
    return dataclasses.replace(WELL, loaded={name: fact for name, fact in loaded.items() if fact}, **changes)


def test_where_all_is_well_there_is_nothing_to_say() -> None:
    assert findings(WELL) == []


_BROKEN = {"error": "ImportError: invalid ELF header"}
_SLOW = {"path": "/p", "isa": "avx2", "best": "avx2", "openmp": False}
_OLD = {"path": "/p", "isa": "avx2", "best": "avx512", "openmp": True}
_MANY = {"version": "2.13.0", "isa": "AVX2", "threads": 16}
_ONE = {"version": "2.13.0", "isa": "AVX2", "threads": 1}


@pytest.mark.parametrize(
    ("facts", "level", "what", "cost", "remedy"),
    [
        (ill(torch=_BROKEN), "problem", "torch cannot be loaded: ImportError", "nothing", "pip install"),
        (
            ill(portable={"path": None}),
            "problem",
            "no CPU kernels: they were not",
            "dropout about 20",
            "--verbose",
        ),
        (
            ill(portable={"path": None}, compiler=None),
            "problem",
            "no C++ compiler",
            "twice",
            "apt install g++",
        ),
        (
            ill(portable={"path": None}, checkout=True),
            "problem",
            "no CPU kernels",
            "RMSNorm 6",
            "make kernels",
        ),
        (
            ill(portable=_BROKEN),
            "problem",
            "loaded: ImportError: invalid ELF",
            "20 times",
            "--force-reinstall",
        ),
        (
            ill(portable={"error": "ImportError: no kernels for sse9"}, variables={"NORMWISE_ISA": "sse9"}),
            "problem",
            "no kernels for sse9",
            "20 times",
            "unset NORMWISE_ISA",
        ),
        (ill(portable=_SLOW), "problem", "without OpenMP", "one thread", "g++"),
        (ill(portable=_OLD), "advice", "NORMWISE_ISA=avx2 is set", "older CPU", "unset"),
        (ill(native={"path": None}), "advice", "not built for torch 2.13.0", "1.4", "normwise build-native"),
        (
            ill(native={"path": None}, compiler=None),
            "advice",
            "not built",
            "1.4",
            "install a C++ compiler, then",
        ),
        (ill(native=_BROKEN), "problem", "native extension cannot be loaded", "1.4", "build-native --force"),
        (
            ill(pools={"pools": ["/a/libgomp.so.1", "/b/libomp.so"]}),
            "problem",
            "2 OpenMP",
            "hundred",
            "LD_PRELOAD",
        ),
        (
            ill(torch=_MANY),
            "problem",
            "16 threads, and this process may use 4 cores",
            "slower",
            "OMP_NUM_THREADS=4",
        ),
        (
            ill(variables={"NORMWISE_BACKEND": "cuda"}),
            "problem",
            "NORMWISE_BACKEND=cuda is set",
            "raises",
            "aten",
        ),
        (
            ill(variables={"NORMWISE_BACKEND": "aten"}),
            "advice",
            "=aten is set",
            "20 times",
            "unset NORMWISE_BACKEND",
        ),
        (ill(torch=_MANY, cores=1), "problem", "may use one core", "slower", "OMP_NUM_THREADS=1"),
        (ill(torch=_ONE), "advice", "one thread of 4 cores", "one core", "OMP_NUM_THREADS=4"),
    ],
)
def test_each_thing_that_is_wrong_is_found_with_its_cost_and_remedy(
    facts: Facts, level: str, what: str, cost: str, remedy: str
) -> None:
    (found,) = findings(facts)
    assert found.level == level
    assert what in found.what
    assert cost in found.cost
    assert remedy in found.remedy


@pytest.mark.parametrize(
    ("name", "step"), [("cpu", "portable"), ("portable", "portable"), ("native", "native")]
)
def test_a_back_end_that_is_asked_for_by_name_must_be_there(name: str, step: str) -> None:
    wanted = {"NORMWISE_BACKEND": name}
    assert findings(ill(variables=wanted)) == []
    whats = [found.what for found in findings(ill(variables=wanted, **{step: {"path": None}}))]
    assert f"NORMWISE_BACKEND={name} is set, and it is not there" in whats


def test_what_was_never_reached_is_not_blamed() -> None:
    # The process that looks died while it loaded the kernels.
    facts = ill(portable={"error": "the process died of SIGILL"}, native={}, pools={})
    (found,) = findings(facts)
    assert "SIGILL" in found.what


def test_problems_come_before_advice() -> None:
    facts = ill(native={"path": None}, torch=_MANY)
    assert [found.level for found in findings(facts)] == ["problem", "advice"]


@pytest.mark.parametrize(
    ("facts", "code"), [(WELL, 0), (ill(native={"path": None}), 0), (ill(portable={"path": None}), 1)]
)
def test_only_a_problem_is_a_failure(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, facts: Facts, code: int
) -> None:
    monkeypatch.setattr(doctor_facts, "gather", lambda: facts)
    shown = cli("doctor")
    assert (shown.code, shown.err) == (code, "")
    assert "glibc 2.36" in shown.out
    assert "without mypy, ruff" in shown.out
    assert ("Nothing to do." in shown.out) == (not findings(facts))
    answer = json.loads(cli("doctor", "--json").out)
    assert [found["what"] for found in answer["findings"]] == [found.what for found in findings(facts)]
    assert answer["facts"]["cores"] == facts.cores


@pytest.mark.parametrize("step", doctor_probe.STEPS)
def test_a_table_is_shown_however_far_the_probe_got(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    reached = doctor_probe.STEPS[: doctor_probe.STEPS.index(step)]
    loaded = {name: WELL.loaded[name] for name in reached} | {step: _BROKEN}
    monkeypatch.setattr(doctor_facts, "gather", lambda: dataclasses.replace(WELL, loaded=loaded))
    shown = cli("doctor")
    assert "python 3.11.0" in shown.out
    assert json.loads(cli("doctor", "--json").out)["facts"]["loaded"][step] == _BROKEN


def test_a_file_of_kernels_that_is_no_library_is_told_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_probe, "kernels_folder", lambda: tmp_path)
    assert doctor_probe._portable() == {"path": None}
    (tmp_path / f"_portable{doctor_probe._SUFFIXES[0]}").write_bytes(b"no library")
    with pytest.raises(ImportError, match="_portable"):
        doctor_probe._portable()


def _python_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    program = tmp_path / "python"
    program.write_text("\n".join(["#!/bin/sh", *lines]))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(program))


_TORCH = """echo '{"step": "torch", "version": "2.13.0"}'"""


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("kill -ILL $$", "the process died of SIGILL"),
        ("echo 'Fatal: cannot go on' >&2; exit 3", "Fatal: cannot go on"),
        ("exit 3", "the process ended with exit code 3"),
    ],
)
def test_a_library_that_ends_the_process_ends_only_that_of_the_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, error: str
) -> None:
    _python_that(tmp_path, monkeypatch, "echo a library says hello", _TORCH, line)
    assert doctor_probe.probe() == {"torch": {"version": "2.13.0"}, "portable": {"error": error}}


def test_a_library_that_hangs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _python_that(tmp_path, monkeypatch, _TORCH, "exec tail -f /dev/null")
    monkeypatch.setattr(doctor_probe, "_LONGEST", 0.3)
    found = doctor_probe.probe()
    assert found["portable"] == {"error": "no answer after 0 s"}


def test_cores_are_those_of_the_container(tmp_path: Path) -> None:
    everywhere = usable_cores(tmp_path / "no such file")
    assert everywhere >= 1
    quota = tmp_path / "cpu.max"
    for text, cores in [("max 100000", everywhere), ("50000 100000", 1), ("100000000 100000", everywhere)]:
        quota.write_text(text)
        assert usable_cores(quota) == cores


def test_here_everything_is_reached_and_there_is_one_pool_of_threads(cli: Cli) -> None:
    answer = json.loads(cli("doctor", "--json").out)
    facts = answer["facts"]
    assert list(facts["loaded"]) == list(doctor_probe.STEPS)
    assert facts["versions"]["torch"] == facts["loaded"]["torch"]["version"]
    assert not any("error" in fact for fact in facts["loaded"].values())
    pools = facts["loaded"]["pools"]["pools"]
    assert pools is None or len(pools) <= 1
    assert facts["missing"]["dev"] == []
