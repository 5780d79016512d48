"""A whole run: machine, bandwidth, every case, the bars."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from normwise.allocator import tune_allocator
from normwise.bench import backend
from normwise.bench.bandwidth import BURSTS, copy_bandwidth, faster, working_sets
from normwise.bench.bursts import LEAST_SECONDS
from normwise.bench.case import Case
from normwise.bench.catalogue import select
from normwise.bench.jax_rival import JaxProcess, jax_python
from normwise.bench.machine import machine
from normwise.bench.measure import Method, measure
from normwise.bench.quiet import Watch
from normwise.bench.verdict import judge, slower
from normwise.errors import ArgumentError, explain
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
        tuned_malloc: call `normwise.tune_allocator` before, which stays in force in this process.
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
    if options.tuned_malloc:
        _tune_allocator()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_threads(options.threads))
        stack.enter_context(backend.using(options.backend))
        about = machine()
        jax = _jax(options, about.threads)
        if jax is not None:
            stack.enter_context(jax)
            about = replace(about, versions={**about.versions, "jax": jax.version})
        tell(0, len(cases), "copy bandwidth")
        method = Method(
            rounds,
            options.least_seconds,
            options.compiled and not options.quick,
            jax,
        )
        bandwidth = _bandwidth(about.caches, about.threads, options)
        results, partial = _measured(cases, method, bandwidth, tell)
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
    )


def _measured(
    cases: Sequence[Case], method: Method, bandwidth: Sequence[CopyBandwidth], tell: Progress
) -> tuple[list[CaseResult], bool]:
    """Return the results, and whether an interrupt cut them short."""
    results: list[CaseResult] = []
    try:
        for done, case in enumerate(cases):
            tell(done, len(cases), case.name)
            results.append(measure(case, method, bandwidth))
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


def _jax(options: Options, threads: int) -> JaxProcess | None:
    if options.quick or not options.jax:
        return None
    python = jax_python(options.jax_python)
    return None if python is None else JaxProcess(python, threads)


@contextlib.contextmanager
def _threads(number: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if number is not None:
        if number < 1:
            raise ArgumentError(explain("bench", "`--threads` must be at least 1", str(number)))
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _tune_allocator() -> None:
    tuning = tune_allocator()
    if not tuning.applied:
        raise ArgumentError(
            explain(
                "bench", "`--tuned-malloc` must find an allocator that can be tuned", tuning.note.rstrip(".")
            )
        )
