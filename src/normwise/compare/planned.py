"""A question made ready: read, tried, timed, fitted to its budget; nothing is written yet."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from normwise.compare.budget import Fitted, fit
from normwise.compare.check import Prepared, prepare
from normwise.compare.forecast import time_question, trainings
from normwise.compare.spec import Spec
from normwise.compare.store import read_header


@dataclass(frozen=True)
class Planned:
    """A question that is ready to run, and where.

    Attributes:
        fitted: the question within its budget.
        directory: where it runs.
        identity: the hash of the question as it was asked.
        workers: processes that train side by side.
        resumed: whether the directory holds results of it already.
    """

    fitted: Fitted
    directory: Path
    identity: str
    workers: int
    resumed: bool


def plan(
    spec: Spec,
    *,
    out: Path | None = None,
    workers: int | None = None,
    budget: float | None = None,
    strict_budget: bool = False,
    resolved: Spec | None = None,
    reading: Callable[[int, int], None] | None = None,
) -> Planned:
    """Read the data, try every network, time it, and leave out what does not fit the budget. Nothing is written.

    A run that was begun keeps what it left out then: times are never the same twice.

    Args:
        spec: the question.
        out: the run directory; None takes ``runs/<data>-<identity>``, so that the same question finds its run again.
        workers: processes that train side by side, one thread each; None takes one per usable core.
        budget: seconds; None is no limit.
        strict_budget: whether the budget goes before what was asked for by name.
        resolved: the question with nothing left open, of a run that is to be repeated exactly.
        reading: told how many images of how many are decoded.

    Raises:
        ArgumentError, UnknownNameError: the question cannot be asked of this data.
        DataError: the data cannot be used.
        StoreError: the run directory cannot be used.
    """
    workers = workers or usable_cores()
    prepared = prepare(spec, reading=reading)
    identity = prepared.asked.identity(prepared.data.fingerprint)
    directory = out or Path("runs") / f"{prepared.data.name}-{identity}"
    begun = _begun(directory, identity, budget)
    before = resolved or (Spec.model_validate(begun["resolved"]) if begun else None)
    if before is not None:
        prepared = prepared.narrowed(before.model_copy(update={"seeds": prepared.spec.seeds}))
        timings = time_question(prepared, workers)
        shed = tuple(begun["shed"]) if begun else ()
        fitted = fit(prepared, timings, None, strict=False)
        left = _left(directory, prepared) if begun else 1.0
        fitted = replace(fitted, shed=shed, budget=budget, seconds=left * fitted.seconds)
    else:
        fitted = fit(prepared, time_question(prepared, workers), budget, strict=strict_budget)
    return Planned(fitted, directory, identity, workers, resumed=begun is not None)


def _left(directory: Path, prepared: Prepared) -> float:
    """About what share of the work is not in the records yet."""
    records = directory / "records.jsonl"
    done = records.read_bytes().count(b"\n") if records.is_file() else 0
    return max(0.0, 1 - done / sum(len(plan.variants) * trainings(plan) for plan in prepared.plans))


def _begun(directory: Path, identity: str, budget: float | None) -> dict[str, Any] | None:
    """What a run of this question and budget in that directory wrote about itself."""
    if not (directory / "run.json").is_file():
        return None
    header = read_header(directory)
    same = header.get("identity") == identity and header.get("budget") == budget
    return header if same else None


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
