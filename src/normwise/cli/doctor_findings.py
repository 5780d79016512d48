"""What in an install costs speed or correctness, how much, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from normwise.cli.doctor_facts import Facts
from normwise.kernels.registry import BACKENDS


@dataclass(frozen=True)
class Finding:
    """One thing to know.

    Attributes:
        level: ``"problem"``: something is wrong; ``"advice"``: all is well, and could be faster.
        what: the state of things.
        cost: what it costs.
        remedy: what to do.
    """

    level: Literal["problem", "advice"]
    what: str
    cost: str
    remedy: str


_WITHOUT_KERNELS = (
    "torch's own operators run: dropout about 20 times slower, LayerNorm over channels 8, RMSNorm 6, BatchNorm with "
    "ReLU 3; a training step of an MLP with normalization and dropout takes twice as long"
)


def findings(facts: Facts) -> list[Finding]:
    """Everything that `facts` gives reason to say, problems first."""
    rules = (_torch, _portable, _native, _backend, _pools, _threads, _isa)
    found = [finding for rule in rules for finding in rule(facts)]
    return sorted(found, key=lambda finding: finding.level != "problem")


def _torch(facts: Facts) -> Iterator[Finding]:
    if (error := facts.error("torch")) is not None:
        yield Finding(
            "problem",
            f"torch cannot be loaded: {error}",
            "nothing that trains can run",
            'python -m pip install --force-reinstall "torch>=2.13"',
        )


def _portable(facts: Facts) -> Iterator[Finding]:
    if "portable" not in facts.loaded:
        return  # the process did not get so far, and the finding of an earlier step says why
    error = facts.error("portable")
    again = (
        "make kernels"
        if facts.checkout
        else "python -m pip install --force-reinstall --no-deps --no-cache-dir --verbose normwise"
    )
    if error is not None:
        asked = facts.variables.get("NORMWISE_ISA")
        remedy = "unset NORMWISE_ISA" if asked and error.endswith(f"no kernels for {asked}") else again
        yield Finding("problem", f"the CPU kernels cannot be loaded: {error}", _WITHOUT_KERNELS, remedy)
    elif facts.loaded["portable"]["path"] is None:
        if facts.compiler is None:
            reason = "no C++ compiler was found when normwise was installed, and none is here now"
            remedy = f"install a compiler (Debian: apt install g++), then {again}"
        else:
            reason = f"they were not compiled, though {facts.compiler} is here now"
            remedy = again if facts.checkout else f"{again} (its output shows why, should it fail)"
        yield Finding("problem", f"there are no CPU kernels: {reason}", _WITHOUT_KERNELS, remedy)
    elif not facts.loaded["portable"]["openmp"]:
        yield Finding(
            "problem",
            "the CPU kernels were compiled without OpenMP",
            "they run on one thread",
            f"install g++, whose OpenMP is torch's, then {again}",
        )


def _ready(facts: Facts, step: str) -> bool:
    return facts.error(step) is None and facts.loaded.get(step, {}).get("path") is not None


def _native(facts: Facts) -> Iterator[Finding]:
    if not _ready(facts, "portable"):
        return  # whose kernels it calls
    cost = "small layers pay for calls through Python: a training step of a small MLP takes 1.4 times as long"
    if (error := facts.error("native")) is not None:
        yield Finding(
            "problem",
            f"the native extension cannot be loaded: {error}",
            cost,
            "normwise build-native --force",
        )
    elif not _ready(facts, "native"):
        compiler = "" if facts.compiler else "install a C++ compiler, then "
        yield Finding(
            "advice",
            f"the native extension is not built for torch {facts.versions['torch']}",
            cost,
            f"{compiler}normwise build-native (about 40 s, once for each version of torch)",
        )


def _backend(facts: Facts) -> Iterator[Finding]:
    name = facts.variables.get("NORMWISE_BACKEND")
    if not name or name == "auto":
        return
    setting = f"NORMWISE_BACKEND={name} is set"
    missing = {"portable": not _ready(facts, "portable"), "native": not _ready(facts, "native")}
    missing["cpu"] = missing["portable"]
    if name not in BACKENDS:
        yield Finding(
            "problem", f"{setting}, which is none", "every layer raises", f"one of {', '.join(BACKENDS)}"
        )
    elif missing.get(name):
        yield Finding(
            "problem", f"{setting}, and it is not there", "every layer raises", "unset NORMWISE_BACKEND"
        )
    elif name == "aten":
        yield Finding("advice", f"{setting}", _WITHOUT_KERNELS, "unset NORMWISE_BACKEND, unless for a test")


def _pools(facts: Facts) -> Iterator[Finding]:
    pools = facts.loaded.get("pools", {}).get("pools") or []
    if len(pools) > 1:
        yield Finding(
            "problem",
            f"{len(pools)} OpenMP libraries are loaded, each with threads of its own: {', '.join(pools)}",
            "their threads fight for the cores: up to a hundred times slower",
            "see LD_PRELOAD and LD_LIBRARY_PATH; torch and the kernels must find one and the same",
        )


def _threads(facts: Facts) -> Iterator[Finding]:
    threads = facts.loaded.get("torch", {}).get("threads")
    if threads is not None and threads > facts.cores:
        yield Finding(
            "problem",
            f"torch starts {threads} threads, and this process may use {_cores(facts.cores)}",
            "threads wait for each other: several times slower",
            f"export OMP_NUM_THREADS={facts.cores}",
        )
    elif threads is not None and threads == 1 < facts.cores:
        asked = facts.variables.get("OMP_NUM_THREADS")
        yield Finding(
            "advice",
            f"torch uses one thread{'' if asked is None else f' (OMP_NUM_THREADS={asked})'} of {_cores(facts.cores)}",
            "large layers run on one core",
            f"export OMP_NUM_THREADS={facts.cores}, unless other processes use the others",
        )


def _cores(number: int) -> str:
    return "one core" if number == 1 else f"{number} cores"


def _isa(facts: Facts) -> Iterator[Finding]:
    kernels = facts.loaded.get("portable", {})
    if "isa" in kernels and kernels["isa"] != kernels["best"]:
        yield Finding(
            "advice",
            f"NORMWISE_ISA={kernels['isa']} is set, and this CPU has {kernels['best']}",
            "the kernels of an older CPU run",
            "unset NORMWISE_ISA, unless for a test",
        )
