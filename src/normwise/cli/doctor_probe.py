"""What can only be seen by loading things: torch, the kernels, the native extension. Runs as a program of its own.

A file of machine code that is broken, or made for another CPU, can end the process that loads it. So `normwise doctor`
starts this as a child, which prints each fact as a line of JSON as soon as it knows it: the last line tells how far it
got.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

STEPS = ("torch", "portable", "native", "pools")
"""What is loaded and looked at, in this order."""

_LONGEST = 120.0  # seconds; a cold disk needs ten
_OPENMP = ("libgomp", "libomp", "libiomp")


def probe() -> dict[str, dict[str, Any]]:
    """Load everything in a child process, and return what it found out by step.

    A step that raised has an ``error``; so has the step in which the child died, and those after it are missing.
    """
    command = [sys.executable, "-P", "-m", __name__]
    end = ""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as file:
        try:
            done = subprocess.run(
                command,
                stdout=file,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                timeout=_LONGEST,
                check=False,
            )
            if done.returncode != 0:
                end = _death(done.returncode, done.stderr)
        except subprocess.TimeoutExpired:
            end = f"no answer after {_LONGEST:.0f} s"
        file.seek(0)
        out = file.read()
    found: dict[str, dict[str, Any]] = {}
    for line in out.splitlines():
        # Libraries print, too, when they are loaded.
        if line.startswith('{"step":'):
            fact = json.loads(line)
            found[fact.pop("step")] = fact
    if end:
        found[next((step for step in STEPS if step not in found), STEPS[-1])] = {"error": end}
    return found


def _death(code: int, complaint: str) -> str:
    import signal

    if code < 0:
        name = next((known.name for known in signal.Signals if known == -code), f"signal {-code}")
        return f"the process died of {name}"
    lines = complaint.strip().splitlines()
    return lines[-1] if lines else f"the process ended with exit code {code}"


def _main() -> None:
    for step, look in zip(STEPS, (_torch, _portable, _native, _pools), strict=True):
        try:
            fact = look()
        except Exception as error:  # whatever a broken file raises is what was asked for
            fact = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
        print(json.dumps({"step": step, **fact}), flush=True)


def _torch() -> dict[str, Any]:
    import torch

    return {
        "version": torch.__version__,
        "isa": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


def _portable() -> dict[str, Any]:
    folder = kernels_folder()
    # By its path, not by its package: that must not run first.
    path = next(
        (folder / f"_portable{end}" for end in _SUFFIXES if (folder / f"_portable{end}").is_file()), None
    )
    if path is None:
        return {"path": None}
    module = _load("normwise.kernels.cpu._portable", path)
    return {
        "path": str(path),
        "isa": module.isa(),
        "best": next(isa for isa in ("avx512", "avx2", "baseline") if module.has_isa(isa)),
        "openmp": module.OPENMP,
    }


def _native() -> dict[str, Any]:
    from normwise.kernels.cpu import library
    from normwise.kernels.cpu.build import native_path
    from normwise.kernels.cpu.preference import products_for_onednn

    path = native_path()
    if path is not None and library.native() is None:
        raise ImportError(library.why_missing("native"))
    return {"path": None if path is None else str(path), "onednn": products_for_onednn() < sys.maxsize}


def _pools() -> dict[str, Any]:
    """The OpenMP libraries in this process; None where the system does not tell."""
    try:
        maps = Path("/proc/self/maps").read_text(errors="replace")
    except OSError:
        return {"pools": None}
    files = {line.split(maxsplit=5)[5] for line in maps.splitlines() if len(line.split(maxsplit=5)) == 6}
    return {"pools": sorted(path for path in files if Path(path).name.startswith(_OPENMP))}


_SUFFIXES = importlib.machinery.EXTENSION_SUFFIXES


def kernels_folder() -> Path:
    """Where the compiled kernels lie."""
    return Path(__file__).resolve().parents[1] / "kernels" / "cpu"


def _load(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    _main()
