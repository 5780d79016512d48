"""From a question to its answer: plan, train what is missing, measure the cost, summarise."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from normwise.compare.analysis import analyse, assemble
from normwise.compare.analysis.comparison import machine, margin_of, summarize_data, versions
from normwise.compare.analysis.evidence import Evidence
from normwise.compare.check import Prepared, prepare
from normwise.compare.cost import CostRecord, measure_cost
from normwise.compare.executors import Processes, Task
from normwise.compare.measures import Measure
from normwise.compare.plan import Plan, Trial
from normwise.compare.probe import CASES, SEEDS, ProbeCase, ProbeRecord, measure_probe, summarize_probe
from normwise.compare.spec import Spec
from normwise.compare.store import Store, write_atomically
from normwise.compare.trial import run_trial
from normwise.data import Dataset
from normwise.errors import StoreError, explain
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


def run(
    spec: Spec,
    *,
    out: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    command: str | None = None,
) -> Comparison:
    """Answer the question, going on from whatever the run directory already holds.

    Args:
        spec: the question.
        out: the run directory; None takes ``runs/<data>-<identity>``, so that the same question finds its run again.
        workers: processes that train side by side, one thread each; None takes one per usable core.
        progress: told what is going on.
        command: what the report shows as the way to ask again; None takes the run's own ``run.json`` as the question.

    Returns:
        The answer, also written to ``comparison.json`` in the run directory.

    Raises:
        ArgumentError, UnknownNameError: the question cannot be asked of this data.
        DataError: the data cannot be used.
        StoreError: the run directory cannot be used.
    """
    started = time.perf_counter()
    prepared = prepare(spec)
    spec = prepared.spec
    identity = spec.identity(prepared.data.fingerprint)
    directory = out or Path("runs") / f"{prepared.data.name}-{identity}"
    header = {
        "spec": spec.model_dump(mode="json"),
        "data": {"name": prepared.data.name, "fingerprint": prepared.data.fingerprint},
        "versions": versions(),
    }
    progress = progress or Silent()
    with Store(directory, identity=identity, header=header) as store:
        _train(prepared, store, workers or usable_cores(), progress)
        comparison = summarize(
            prepared,
            store,
            directory,
            seconds=time.perf_counter() - started,
            command=command or f"normwise compare --spec {shlex.quote(str(directory / 'run.json'))}",
        )
        write_atomically(directory / "comparison.json", dumps(comparison, indent=1))
    return comparison


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _train(prepared: Prepared, store: Store, workers: int, progress: Progress) -> None:
    """Run every task that is missing; phases follow from the records, so a resumed run takes the same way."""
    with Processes(workers, prepared.data) as pool:
        while True:
            records = store.records("trial", TrialRecord)
            trials = [trial for plan in prepared.plans for trial in plan.next(records)]
            tasks = [_trial_task(trial) for trial in trials] + _probe_tasks(prepared.spec, store)
            if not tasks:
                break
            done, expected = _expected(prepared, records, len(tasks))
            scanning = any(plan.tune(records) is None for plan in prepared.plans)
            progress.phase("learning-rate scan" if scanning else "fresh seeds", done, expected)
            for result in pool.run(tasks):
                store.append(result.task.kind, result.task.key, result.record)
                progress.advance()
        # Step times are taken with nothing beside them: one task at a time.
        costs = [task for task in _cost_tasks(prepared) if task.key not in store.records("cost", CostRecord)]
        if costs:
            progress.phase("step times", len(records), len(records) + len(costs))
        for task in costs:
            for result in pool.run([task]):
                store.append(result.task.kind, result.task.key, result.record)
                progress.advance()


def _expected(prepared: Prepared, records: Mapping[str, TrialRecord], now: int) -> tuple[int, int]:
    """Tasks finished, and a fair guess of all tasks: fresh trials are only known once the scan is read."""
    later = 0
    for plan in prepared.plans:
        if plan.tune(records) is None:
            later += round(
                len(plan.variants) * len(plan.seeds) * (1.6 + len(prepared.spec.initializations) - 1)
            )
    return len(records), len(records) + now + later


def _trial_task(trial: Trial) -> Task:
    return Task("trial", trial.key, run_trial, (trial,))


def _probe_tasks(spec: Spec, store: Store) -> list[Task]:
    if not spec.probe:
        return []
    known = store.records("probe", ProbeRecord)
    return [
        Task("probe", key, probe_task, (case, seed))
        for case in CASES
        for seed in range(SEEDS)
        if (key := _probe_key(case, seed)) not in known
    ]


def _probe_key(case: ProbeCase, seed: int) -> str:
    return f"probe {case.name} {seed}"


def probe_task(case: ProbeCase, seed: int, _: Dataset) -> ProbeRecord:
    """The probe as a worker runs it; it looks at no data."""
    return measure_probe(case, seed)


def _cost_tasks(prepared: Prepared) -> list[Task]:
    initialization = prepared.spec.initializations[0]
    return [
        Task("cost", f"cost {plan.ground.name}", measure_cost, (plan.ground, plan.variants, initialization))
        for plan in prepared.plans
    ]


def summarize(
    prepared: Prepared, store: Store, directory: Path, *, seconds: float, command: str
) -> Comparison:
    """The answer from what the store holds.

    Raises:
        StoreError: the scan of a setting is not finished, so that nothing was chosen yet.
    """
    spec, data = prepared.spec, prepared.data
    records = store.records("trial", TrialRecord)
    costs = store.records("cost", CostRecord)
    wanted = {trial.key for plan in prepared.plans for trial in _all_trials(plan, records)}
    used = {key: record for key, record in records.items() if key in wanted}
    measure = prepared.measure
    baseline_errors = [
        value for plan in prepared.plans for value in _finals(plan, measure, records) if value is not None
    ]
    margin = margin_of(spec, measure, baseline_errors)
    settings = []
    for plan in prepared.plans:
        tuning = plan.tune(records)
        if tuning is None:
            raise StoreError(
                explain(
                    "compare",
                    "the scan of a setting must be finished",
                    f"missing trials of {plan.ground.name}",
                )
            )
        settings.append(
            analyse(
                Evidence(plan, tuning, measure, used, costs[f"cost {plan.ground.name}"]),
                name=prepared.name_of(plan),
                in_shape=prepared.split.in_shape,
                out_features=prepared.split.out_features,
                margin=margin,
                notes=prepared.notes_of(plan),
            )
        )
    level = sum(baseline_errors) / len(baseline_errors) if baseline_errors else None
    return assemble(
        question=prepared.question,
        data=summarize_data(data, prepared.split, measure, margin, level),
        settings=settings,
        probe=_probe(store) if spec.probe else None,
        records=used,
        planned=len(wanted),
        reproduction={
            "command": command,
            "directory": str(directory),
            "spec": spec.model_dump(mode="json"),
            "versions": versions(),
            "machine": machine(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": seconds,
        },
    )


def _all_trials(plan: Plan, records: Mapping[str, TrialRecord]) -> list[Trial]:
    tuning = plan.tune(records)
    return plan.scan(plan.grid(records)[0]) + ([] if tuning is None else plan.fresh(tuning))


def _finals(plan: Plan, measure: Measure, records: Mapping[str, TrialRecord]) -> list[float | None]:
    """Final test metric of the baseline's fresh seeds."""
    tuning = plan.tune(records)
    if tuning is None:
        return []
    baseline = plan.baseline_variant
    lr = tuning.tuned[plan.baseline]
    return [measure.final(records.get(plan.trial(baseline, lr, seed).key), "test") for seed in plan.seeds]


def _probe(store: Store) -> Any:
    known = store.records("probe", ProbeRecord)
    return summarize_probe(
        {case.name: [known[_probe_key(case, seed)] for seed in range(SEEDS)] for case in CASES}
    )
