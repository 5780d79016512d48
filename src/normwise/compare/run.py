"""From a question to its answer: plan, train what is missing, measure the cost, summarise."""

from __future__ import annotations

import shlex
import time
from typing import Any, Protocol

from normwise.compare.analysis.comparison import versions
from normwise.compare.check import Prepared
from normwise.compare.executors import Processes
from normwise.compare.planned import Planned, plan
from normwise.compare.spec import Spec
from normwise.compare.store import Store, write_atomically
from normwise.compare.summary import summarize
from normwise.compare.tasks import expected, missing, missing_costs
from normwise.results import Comparison, TrialRecord, dumps


class Progress(Protocol):
    """What a run tells while it works."""

    def phase(self, name: str, done: int, expected: int) -> None:
        """A phase begins or its size is known better; `done` of `expected` tasks of the whole run are finished."""

    def advance(self) -> None:
        """One more task is finished."""


class Silent:
    """Tells nothing."""

    def phase(self, name: str, done: int, expected: int) -> None:
        """Nothing."""

    def advance(self) -> None:
        """Nothing."""


class InterruptedRunError(KeyboardInterrupt):
    """A run was interrupted; `comparison` is what can be said so far, or None before that is anything."""

    def __init__(self, comparison: Comparison | None) -> None:
        super().__init__("interrupted")
        self.comparison = comparison


def run(
    spec: Spec,
    *,
    progress: Progress | None = None,
    command: str | None = None,
    **options: Any,
) -> Comparison:
    """Answer the question, going on from whatever the run directory already holds.

    Args:
        spec: the question.
        progress: told what is going on.
        command: what the report shows as the way to ask again; None takes the run's own ``run.json`` as the question.
        options: of `plan`.

    Returns:
        The answer, also written to ``comparison.json`` in the run directory.

    Raises:
        ArgumentError, UnknownNameError, DataError, StoreError: as `plan`.
        InterruptedRunError: a KeyboardInterrupt, with the answer so far.
    """
    return carry_out(plan(spec, **options), progress=progress, command=command)


def carry_out(
    planned: Planned, *, progress: Progress | None = None, command: str | None = None
) -> Comparison:
    """Train what is missing and answer; see `run`."""
    started = time.perf_counter()
    directory, prepared = planned.directory, planned.fitted.prepared
    command = command or f"normwise compare --spec {shlex.quote(str(directory / 'run.json'))}"
    with Store(directory, identity=planned.identity, header=_header(planned)) as store:
        interrupted = False
        try:
            _train(prepared, store, planned.workers, progress or Silent())
        except KeyboardInterrupt:
            interrupted = True
        seconds = time.perf_counter() - started
        comparison = summarize(planned.fitted, store, directory, seconds=seconds, command=command)
        if not interrupted or comparison.settings:
            write_atomically(directory / "comparison.json", dumps(comparison, indent=1))
    if interrupted:
        raise InterruptedRunError(comparison if comparison.settings else None)
    return comparison


def _header(planned: Planned) -> dict[str, Any]:
    prepared = planned.fitted.prepared
    return {
        "spec": prepared.asked.model_dump(mode="json", exclude_unset=True),
        "resolved": prepared.spec.model_dump(mode="json"),
        "budget": planned.fitted.budget,
        "shed": list(planned.fitted.shed),
        "data": {"name": prepared.data.name, "fingerprint": prepared.data.fingerprint},
        "versions": versions(),
    }


def _train(prepared: Prepared, store: Store, workers: int, progress: Progress) -> None:
    """Run every task that is missing; phases follow from the records, so a resumed run takes the same way."""
    with Processes(workers, prepared.data) as pool:
        while True:
            records = store.records("trial", TrialRecord)
            tasks = missing(prepared, store, records)
            if not tasks:
                break
            done, total = expected(prepared, store, records, len(tasks))
            scanning = any(plan.tune(records) is None for plan in prepared.plans)
            progress.phase("learning-rate scan" if scanning else "fresh seeds", done, total)
            for result in pool.run(tasks):
                store.append(result.task.kind, result.task.key, result.record)
                progress.advance()
        # Step times are taken with nothing beside them: one task at a time.
        costs = missing_costs(prepared, store)
        if costs:
            progress.phase("step times", len(store), len(store) + len(costs))
        for task in costs:
            for result in pool.run([task]):
                store.append(result.task.kind, result.task.key, result.record)
                progress.advance()
