"""A case in a process of its own: what one case leaves in memory decides nothing about the next.

After large arrays were freed, glibc's malloc keeps memory that it gave back to the system before: whether the cases
that follow have page faults, which can be half of an operation's time, hangs on what ran earlier.
"""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from normwise.bench import conditions
from normwise.bench.case import Case
from normwise.bench.conditions import Conditions
from normwise.bench.jax_rival import JaxProcess
from normwise.bench.measure import Method, measure, unmeasured
from normwise.results import CaseResult, CopyBandwidth


@dataclass(frozen=True)
class Order:
    """What such a process is to do.

    Attributes:
        case: what to time.
        method: how; without JAX, which the process starts by itself.
        bandwidth: of the run.
        conditions: what holds meanwhile.
        jax_python: the interpreter that has JAX; None without it.
    """

    case: Case
    method: Method
    bandwidth: Sequence[CopyBandwidth]
    conditions: Conditions
    jax_python: Path | None


def measure_apart(order: Order) -> CaseResult:
    """Time a case in a new process; one that ends without a result is an error in the record."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "result"
        # -P: what lies in the folder where somebody stands is no module of ours.
        program = [sys.executable, "-P", "-c", "from normwise.bench.apart import main; main()", str(answer)]
        # What a compiler prints has no reader but an error.
        with subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            try:
                told, _ = process.communicate(pickle.dumps(order))
            except BaseException:  # an interrupt, above all: nothing goes on behind it
                process.kill()
                raise
        if process.returncode or not answer.is_file():
            lines = told.decode(errors="replace").strip().splitlines() or ["nothing was said"]
            error = f"its process ended with {process.returncode}: {lines[-1]}"
            return unmeasured(order.case, order.method, error)
        result: CaseResult = pickle.loads(answer.read_bytes())
        return result


def main() -> None:
    """Do what stands on standard input, and write the result into the file that the command names."""
    order: Order = pickle.load(sys.stdin.buffer)
    with contextlib.ExitStack() as stack:
        stack.enter_context(conditions.hold(order.conditions))
        jax = None
        if order.jax_python is not None and not order.case.is_network:
            jax = stack.enter_context(JaxProcess(order.jax_python, order.conditions.threads))
        result = measure(order.case, order.method, order.bandwidth, jax)
    Path(sys.argv[1]).write_bytes(pickle.dumps(result))
