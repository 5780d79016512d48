"""What `normwise doctor` knows about an install, gathered in one record."""

from __future__ import annotations

import os
import platform
import re
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from normwise.allocator import allocator
from normwise.cli.doctor_probe import kernels_folder, probe


@dataclass(frozen=True)
class Facts:
    """An install, and the machine and the process that it runs in.

    Attributes:
        versions: of python and of the packages that count; None: not installed.
        cpu: its name.
        cores: those that this process may use, by affinity and by the container's quota.
        variables: environment variables that are set and change what runs or how fast.
        allocator: what answers malloc.
        compiler: the C++ compiler that `normwise build-native` would take; None: none.
        checkout: whether this is a checkout with sources beside it, rather than an installed wheel.
        missing: for each extra of the package the requirements that are not installed.
        loaded: what `probe` found by loading torch, the kernels and the native extension.
    """

    versions: dict[str, str | None]
    cpu: str
    cores: int
    variables: dict[str, str]
    allocator: str | None
    compiler: str | None
    checkout: bool
    missing: dict[str, list[str]]
    loaded: dict[str, dict[str, Any]]

    def error(self, step: str) -> str | None:
        """Why a step of the probe failed; None if it did not."""
        answer = self.loaded.get(step, {}).get("error")
        return None if answer is None else str(answer)


def gather() -> Facts:
    """Look at everything; loads nothing into this process."""
    return Facts(
        versions={
            "python": platform.python_version(),
            **{name: _version(name) for name in ("normwise", "torch", "numpy")},
        },
        cpu=_cpu(),
        cores=usable_cores(),
        variables={name: value for name, value in sorted(os.environ.items()) if name in _VARIABLES},
        allocator=allocator(),
        compiler=_compiler(),
        checkout=(kernels_folder().parents[3] / "CMakeLists.txt").is_file(),
        missing=_missing_by_extra(),
        loaded=probe(),
    )


_VARIABLES = {
    "CXX",
    "GLIBC_TUNABLES",
    "GOMP_CPU_AFFINITY",
    "KMP_AFFINITY",
    "LD_PRELOAD",
    "MKL_NUM_THREADS",
    "NORMWISE_BACKEND",
    "NORMWISE_CACHE",
    "NORMWISE_ISA",
    "OMP_NUM_THREADS",
    "OMP_PROC_BIND",
    "OMP_WAIT_POLICY",
}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("model name")]
    return f"{names[0] if names else platform.processor() or 'unknown'}, {platform.machine()}"


def usable_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Cores that this process may use; `os.cpu_count` says how many the machine has, whoever may use them.

    Args:
        quota: the file in which Linux says how much time a container gets: microseconds in a period of so many.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    try:
        share, period = quota.read_text().split()
        return min(cores, max(1, -(-int(share) // int(period))))
    except (OSError, ValueError):  # no such file, or "max": no quota
        return cores


def _compiler() -> str | None:
    names = [os.environ["CXX"].split()[0]] if os.environ.get("CXX", "").strip() else ["c++", "g++", "clang++"]
    return next((found for found in map(shutil.which, names) if found), None)


def _missing_by_extra() -> dict[str, list[str]]:
    """For each extra, what of it is not installed; nothing where the package itself is not."""
    try:
        required = metadata.requires("normwise") or []
    except metadata.PackageNotFoundError:
        return {}
    missing: dict[str, list[str]] = {}
    for line in required:
        name, extra = re.match(r"[\w.-]+", line), re.search(r"extra\s*==\s*[\"']([\w.-]+)", line)
        if name and extra:
            absent = missing.setdefault(extra[1], [])
            if _version(name[0]) is None:
                absent.append(name[0])
    return missing
