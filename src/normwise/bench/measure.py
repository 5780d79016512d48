"""One case: all its sides in turn, the limit, what is saved for the backward pass, which back end ran."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import torch
from torch import nn

from normwise.bench import backend
from normwise.bench.backend import Ran
from normwise.bench.bandwidth import SMALLEST, fitting
from normwise.bench.bursts import LEAST_SECONDS, Here, Timed, alternate, spread
from normwise.bench.case import Case
from normwise.bench.compiled import compile_module
from normwise.bench.jax_rival import JaxError, JaxProcess
from normwise.bench.quiet import Watch
from normwise.bench.saved import saved_bytes
from normwise.bench.workload import Workload, workload
from normwise.errors import BackendError
from normwise.results import CaseResult, CopyBandwidth, Side, SideResult


@dataclass(frozen=True)
class Method:
    """How all cases of a run are measured.

    Attributes:
        rounds: bursts of each side.
        least_seconds: the least time of a burst.
        compiled: whether torch.compile is timed.
    """

    rounds: int
    least_seconds: float = LEAST_SECONDS
    compiled: bool = True


def measure(
    case: Case, method: Method, bandwidth: Sequence[CopyBandwidth], jax: JaxProcess | None = None
) -> CaseResult:
    """Time every side of a case and return what was found; a rival that cannot run it is an error in the record.

    Args:
        case: what to time.
        method: how.
        bandwidth: what the limit is counted with.
        jax: the process in which JAX runs; None without it.
    """
    work = workload(case)
    sides: dict[Side, Timed] = {}
    errors: dict[Side, str] = {}
    # Random draws of a timed dropout are no draws of the caller's program.
    with torch.random.fork_rng(devices=[]):
        try:
            ran = backend.what_runs(work)
            sides["normwise"] = Here(work.bind(work.ours))
        except BackendError as error:
            ran = Ran("")
            errors["normwise"] = str(error)
        sides["eager"] = Here(work.bind(work.eager))
        if method.compiled:
            _add_compiled(work, sides, errors)
        if jax is not None and not case.is_network:
            _add_jax(case, jax, sides, errors)
        timed: dict[str, Timed] = dict(sides.items())
        if work.bare is not None:
            timed["bare"] = Here(work.bind(work.bare))
        watch = Watch(() if jax is None else (jax.pid,))
        times = alternate(timed, method.rounds, method.least_seconds)
        others = watch.others()
        saved = _saved(case, work) if "normwise" in sides else None
    ours = times.get("normwise")
    found = [_result(name, times[name], ours) for name in sides]
    found += [SideResult(name, None, error=message) for name, message in errors.items()]
    limit, speed = _limit(work, bandwidth)
    middle = None if ours is None else spread(ours).median
    return replace(
        unmeasured(case, method),
        sides=tuple(found),
        limit_ms=None if limit is None else 1000 * limit,
        times_limit=None if limit is None or middle is None else middle / limit,
        gigabytes_per_second=speed,
        saved_bytes=None if saved is None else saved[0],
        eager_saved_bytes=None if saved is None else saved[1],
        backend=ran.name,
        isa=ran.isa,
        reason=ran.reason,
        others=others,
        most=spread([a / b for a, b in zip(times["eager"], times["bare"], strict=True)]).median
        if "bare" in times
        else None,
    )


def unmeasured(case: Case, method: Method, error: str = "") -> CaseResult:
    """The record of a case of which nothing is known but why; it is normwise's side that has the error."""
    return CaseResult(
        name=case.name,
        op=case.op,
        title=case.title,
        group=case.group,
        shape=case.shape,
        layout=case.layout,
        dtype=case.dtype,
        mode=case.mode,
        sides=(SideResult("normwise", None, error=error),),
        bursts=method.rounds,
        limit_ms=None,
        times_limit=None,
        gigabytes_per_second=None,
        saved_bytes=None,
        eager_saved_bytes=None,
        backend="",
    )


def _result(name: Side, times: Sequence[float], ours: Sequence[float] | None) -> SideResult:
    ratio = None
    if name != "normwise" and ours is not None:
        ratio = spread([b / a for a, b in zip(ours, times, strict=True)])
    return SideResult(name, spread([1000 * seconds for seconds in times]), ratio)


def _add_compiled(work: Workload, sides: dict[Side, Timed], errors: dict[Side, str]) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the compiler, about itself
            call = work.bind(compile_module(work.eager))
            call()
    except Exception as error:  # what the compiler raises here is its own affair, and a finding
        errors["compile"] = _first_line(error)
    else:
        sides["compile"] = Here(call)


def _add_jax(case: Case, jax: JaxProcess, sides: dict[Side, Timed], errors: dict[Side, str]) -> None:
    try:
        jax.take(case)
    except JaxError as error:
        errors["jax"] = _first_line(error)
    else:
        sides["jax"] = jax


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _saved(case: Case, work: Workload) -> tuple[int, int] | None:
    if case.mode == "evaluation":
        return None

    def of(module: nn.Module) -> int:
        module.zero_grad()
        return saved_bytes(lambda: work.forward(module), chain(module.parameters(), module.buffers()))

    return of(work.ours), of(work.eager)


def _limit(work: Workload, bandwidth: Sequence[CopyBandwidth]) -> tuple[float | None, float | None]:
    """The least seconds of a call, and the gigabytes per second they are counted with."""
    if not work.moved or not bandwidth or work.working_set < SMALLEST:
        return None, None
    speed = fitting(bandwidth, work.working_set).gigabytes_per_second
    return work.moved / (1e9 * speed), speed
