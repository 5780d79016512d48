"""What workers have to do for a question, apart from what the store holds already."""

from __future__ import annotations

from collections.abc import Mapping

from normwise.compare.check import Prepared
from normwise.compare.cost import CostRecord, measure_cost
from normwise.compare.executors import Task
from normwise.compare.forecast import REFERENCE_SEEDS, trainings
from normwise.compare.plan import Plan, Trial
from normwise.compare.probe import CASES, SEEDS, ProbeCase, ProbeRecord, measure_probe
from normwise.compare.references import REFERENCES, ReferenceRecord, measure_reference
from normwise.compare.splits import rows_needed
from normwise.compare.store import Store
from normwise.compare.trial import run_trial
from normwise.data import Dataset
from normwise.results import TrialRecord


def missing(prepared: Prepared, store: Store, records: Mapping[str, TrialRecord]) -> list[Task]:
    """Everything that can run side by side now; empty when nothing is missing."""
    trials = [trial for plan in prepared.plans for trial in plan.next(records)]
    return (
        [_trial_task(trial) for trial in trials]
        + _probe_tasks(prepared, store)
        + _reference_tasks(prepared, store)
    )


def missing_costs(prepared: Prepared, store: Store) -> list[Task]:
    """Step times that are not taken yet; these run one at a time, with nothing beside them."""
    known = store.records("cost", CostRecord)
    spec = prepared.spec
    tasks = [
        Task(
            "cost",
            cost_key(plan),
            measure_cost,
            (plan.ground, plan.variants, tuple(spec.initialization_of(v) for v in plan.variants)),
        )
        for plan in prepared.plans
    ]
    return [task for task in tasks if task.key not in known]


def cost_key(plan: Plan) -> str:
    """The key of a setting's step times, which are of all its variants at once."""
    return f"cost {plan.ground.name}: {', '.join(variant.name for variant in plan.variants)}"


def expected(
    prepared: Prepared, store: Store, records: Mapping[str, TrialRecord], now: int
) -> tuple[int, int]:
    """Tasks finished, and a fair guess of all tasks: fresh trials are only known once the scan is read."""
    later = 0.0
    for plan in prepared.plans:
        if plan.tune(records) is None:
            grid = len(plan.grid(records)[0])
            later += len(plan.variants) * max(0.0, trainings(plan) - grid * len(plan.scan_seeds))
    done = len(store)
    return done, done + now + round(later) + len(prepared.plans)


def _trial_task(trial: Trial) -> Task:
    return Task("trial", trial.key, run_trial, (trial,))


def _probe_tasks(prepared: Prepared, store: Store) -> list[Task]:
    if not prepared.spec.probe:
        return []
    known = store.records("probe", ProbeRecord)
    return [
        Task("probe", key, probe_task, (case, seed))
        for case in CASES
        for seed in range(SEEDS)
        if (key := probe_key(case, seed)) not in known
    ]


def probe_key(case: ProbeCase, seed: int) -> str:
    """The key of one measurement of the probe."""
    return f"probe {case.name} {seed}"


def probe_task(case: ProbeCase, seed: int, _: Dataset) -> ProbeRecord:
    """The probe as a worker runs it; it looks at no data."""
    return measure_probe(case, seed)


def _reference_tasks(prepared: Prepared, store: Store) -> list[Task]:
    if not prepared.spec.references:
        return []
    known = store.records("reference", ReferenceRecord)
    ground = max((plan.ground for plan in prepared.plans), key=rows_needed)
    metric = prepared.measure.name
    return [
        Task("reference", key, measure_reference, (name, seed, metric, ground))
        for seed in range(min(REFERENCE_SEEDS, prepared.spec.seeds))
        for name in REFERENCES[prepared.data.task]
        if (key := reference_key(name, seed)) not in known
    ]


def reference_key(name: str, seed: int) -> str:
    """The key of one reference model on one split."""
    return f"reference {name} {seed}"
