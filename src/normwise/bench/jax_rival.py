"""The process in which JAX runs, from this side: found, started, given cases, asked for bursts."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from normwise.bench import jax_side
from normwise.bench.case import Case
from normwise.bench.ops import groups_of
from normwise.errors import ArgumentError, explain


class JaxError(Exception):
    """JAX could not run what it was asked."""


def jax_python(asked: Path | None = None) -> Path | None:
    """Return the interpreter in which JAX is to run: the one asked for, this one, or None where JAX is not installed.

    Raises:
        ArgumentError: the one asked for is no file.
    """
    if asked is not None:
        if not asked.is_file():
            raise ArgumentError(
                explain("bench", "`--jax-python` must be an interpreter with JAX", str(asked))
            )
        return asked
    return Path(sys.executable) if importlib.util.find_spec("jax") is not None else None


class JaxProcess:
    """JAX on a number of threads; a side of `bursts` once it has a case.

    Attributes:
        version: of JAX.
    """

    def __init__(self, python: Path, threads: int) -> None:
        self._process = subprocess.Popen(
            [str(python), str(Path(jax_side.__file__)), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            self.version = str(self._read()["version"])
        except JaxError:
            self.close()
            raise ArgumentError(
                explain("bench", "JAX must start in its own process", f"none in {python}", "use --no-jax")
            ) from None

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def take(self, case: Case) -> None:
        """Build and compile a case.

        Raises:
            JaxError: it has no such operation, or JAX failed.
        """
        groups = groups_of(case.shape[1]) if len(case.shape) > 1 else 0
        self._ask({"case": {**asdict(case), "groups": groups}})

    def burst(self, calls: int) -> float:
        """Return the mean seconds of so many calls of the case it has."""
        return float(cast(float, self._ask({"burst": calls})["seconds"]))

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> JaxProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        pipe = self._process.stdin
        if pipe is None:
            raise JaxError("the process takes no orders")
        try:
            pipe.write(json.dumps(order) + "\n")
            pipe.flush()
        except OSError as error:
            raise JaxError(f"the process of JAX has ended ({error.strerror})") from None
        return self._read()

    def _read(self) -> dict[str, Any]:
        pipe = self._process.stdout
        line = "" if pipe is None else pipe.readline()
        if not line:
            raise JaxError("the process of JAX has ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise JaxError(str(answer["error"]))
        return answer
