"""What the numbers depend on: processor, instruction set, caches, threads, versions."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from normwise.results import BenchmarkMachine

_UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3}
_CPUS = Path("/sys/devices/system/cpu")


def machine() -> BenchmarkMachine:
    """Describe this machine for as many threads as torch has now; no name of it, no path."""
    return BenchmarkMachine(
        cpu=cpu_model(),
        system=f"{platform.system()} {platform.machine()}",
        cores=cores(),
        threads=torch.get_num_threads(),
        isa=torch.backends.cpu.get_cpu_capability(),
        kernel_isa="",  # known once they have run
        caches=caches(),
        versions={
            "normwise": _version("normwise"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    )


def cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_model() -> str:
    """Return the processor's name as the system tells it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return next((name for name in names if name), platform.processor() or platform.machine())


def caches(folder: Path = _CPUS) -> dict[str, int]:
    """Return the bytes of each level of data cache that one core sees; empty where the system does not tell.

    >>> set(caches()) <= {"L1", "L2", "L3", "L4"}
    True
    """
    found: dict[str, int] = {}
    for entry in sorted(folder.glob("cpu0/cache/index*")):
        try:
            level, kind, size = (
                (entry / name).read_text(encoding="ascii").strip() for name in ("level", "type", "size")
            )
            if kind != "Instruction":
                found[f"L{level}"] = int(size.rstrip("KMG")) * _UNITS.get(size[-1:], 1)
        except (OSError, ValueError):
            continue
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
