"""A whole run: machine, bandwidth, every case, the bars."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from normwise.bench import conditions
from normwise.bench.apart import Order, measure_apart
from normwise.bench.bandwidth import BURSTS, copy_bandwidth, faster, working_sets
from normwise.bench.bursts import LEAST_SECONDS
from normwise.bench.case import Case
from normwise.bench.catalogue import select
from normwise.bench.conditions import Conditions
from normwise.bench.jax_rival import JaxProcess, jax_python
from normwise.bench.machine import machine
from normwise.bench.measure import Method, measure
from normwise.bench.quiet import Watch
from normwise.bench.verdict import judge, slower
from normwise.kernels.memory import keep_memory
from normwise.results import Benchmark, CaseResult, CopyBandwidth

ROUNDS, QUICK_ROUNDS = 15, 5
QUICK_BURSTS = 3
TRIES, QUIET = 3, 0.05
"""How often the bandwidth is measured where others take more than this share of the machine."""

Progress = Callable[[int, int, str], None]
"""Called with the number of cases done, of all, and the name of what begins."""


@dataclass(frozen=True)
class Options:
    """How to run.

    Attributes:
        quick: few cases, few bursts, neither torch.compile nor JAX.
        threads: torch's number of threads while the run lasts; None leaves it.
        backend: which of normwise's implementations to time: "auto" as they are picked, or one by name, which never
            falls back.
        compiled: time torch.compile too.
        jax: time JAX too, if it is installed; `jax_python` names another interpreter that has it.
        tuned_malloc: call `normwise.tune_allocator` before, which stays in force in the process.
        apart: time each case in a new process, as `normwise bench` does: what one case leaves in memory decides
            nothing about the next. What was set in this process without an option does not hold there.
        rounds: bursts of each side; None is 15, 5 for a quick run.
        least_seconds: the least time of a burst.
        command: how the run was asked for, for the record.
    """

    quick: bool = False
    threads: int | None = None
    backend: str = "auto"
    compiled: bool = True
    jax: bool = True
    jax_python: Path | None = None
    tuned_malloc: bool = False
    apart: bool = False
    rounds: int | None = None
    least_seconds: float = LEAST_SECONDS
    command: str = ""


def benchmark(
    cases: Sequence[Case] | None = None, options: Options | None = None, *, progress: Progress | None = None
) -> Benchmark:
    """Time cases on this machine; an interrupt (Ctrl-C) ends the run with what there is.

    Args:
        cases: what to time; all that normwise knows by default.
        options: how.
        progress: told of every case as it begins.

    Returns:
        A `Benchmark` with milliseconds, ratios and multiples of the limit for every case.

    Raises:
        ArgumentError: a number of threads below 1, an interpreter that is no file, or an allocator that is not glibc's.
        UnknownNameError: there is no back end of this name.

    >>> from normwise.bench.case import own_case
    >>> tiny = Options(compiled=False, jax=False, rounds=1, least_seconds=1e-4)
    >>> benchmark([own_case("dropout", "4x8")], tiny).cases[0].op
    'dropout'
    """
    options = options or Options()
    cases = select(quick=options.quick) if cases is None else cases
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    tell = progress or (lambda done, total, name: None)
    started, created = time.perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
    threads = torch.get_num_threads() if options.threads is None else options.threads
    held = Conditions(threads, options.backend, options.tuned_malloc)
    with contextlib.ExitStack() as stack:
        stack.enter_context(conditions.hold(held))
        about = machine()
        python = jax_python(options.jax_python) if options.jax and not options.quick else None
        jax = None if python is None else stack.enter_context(JaxProcess(python, threads))
        if jax is not None:
            about = replace(about, versions={**about.versions, "jax": jax.version})
        tell(0, len(cases), "copy bandwidth")
        method = Method(rounds, options.least_seconds, options.compiled and not options.quick)
        bandwidth = _bandwidth(about.caches, about.threads, options)

        def result(case: Case) -> CaseResult:
            if options.apart:
                return measure_apart(Order(case, method, bandwidth, held, python))
            return measure(case, method, bandwidth, jax)

        results, partial = _measured(cases, result, tell)
    isa = next((result.isa for result in results if result.isa), "")
    return Benchmark(
        machine=replace(about, kernel_isa=isa),
        bandwidth=bandwidth,
        cases=tuple(results),
        bars=judge(results),
        slower=slower(results) if options.backend == "auto" else (),
        malloc="tuned" if options.tuned_malloc else "default",
        kept_bytes=keep_memory().limit,
        backend=options.backend,
        bursts=rounds,
        quick=options.quick,
        command=options.command,
        created=created,
        seconds=time.perf_counter() - started,
        partial=partial,
        apart=options.apart,
    )


def _measured(
    cases: Sequence[Case], result: Callable[[Case], CaseResult], tell: Progress
) -> tuple[list[CaseResult], bool]:
    """Return the results, and whether an interrupt cut them short."""
    results: list[CaseResult] = []
    try:
        for done, case in enumerate(cases):
            tell(done, len(cases), case.name)
            results.append(result(case))
    except KeyboardInterrupt:
        return results, True
    return results, False


def _bandwidth(caches: dict[str, int], threads: int, options: Options) -> tuple[CopyBandwidth, ...]:
    """The bandwidth, measured again while other processes take part of the machine: all limits hang on it."""
    sizes = working_sets(caches)
    if options.quick:  # every other size: a quick run needs the limit to a digit
        sizes = sizes[::-2][::-1]
    found: tuple[CopyBandwidth, ...] = ()
    for _ in range(TRIES):
        watch = Watch()
        measured = copy_bandwidth(sizes, caches, threads, QUICK_BURSTS if options.quick else BURSTS)
        found = faster(found, measured) if found else measured
        if (watch.others() or 0.0) < QUIET:
            break
    return found
