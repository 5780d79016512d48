"""The answer from what a store holds, whole or cut short."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from normwise.compare.analysis import analyse, assemble
from normwise.compare.analysis.comparison import machine, margin_of, summarize_data, versions
from normwise.compare.analysis.evidence import Evidence
from normwise.compare.budget import Fitted
from normwise.compare.check import Prepared
from normwise.compare.cost import CostRecord
from normwise.compare.forecast import trainings
from normwise.compare.measures import Measure
from normwise.compare.network import describe
from normwise.compare.plan import Plan, Trial
from normwise.compare.planned import Planned
from normwise.compare.probe import CASES, SEEDS, ProbeRecord, summarize_probe
from normwise.compare.references import REFERENCES, ReferenceRecord, summarize_references
from normwise.compare.spec import LEARNING_RATES
from normwise.compare.store import Store
from normwise.compare.tasks import cost_key, probe_key
from normwise.results import (
    Comparison,
    DataSummary,
    GradientProbe,
    PlannedSetting,
    PlanSummary,
    ReferenceResult,
    TrialRecord,
)


def summarize(fitted: Fitted, store: Store, directory: Path, *, seconds: float, command: str) -> Comparison:
    """The answer from what the store holds; where an interrupted run left gaps, from what is whole.

    A setting whose scan has not finished a single seed is left out.
    """
    prepared = fitted.prepared
    spec, measure = prepared.spec, prepared.measure
    records = store.records("trial", TrialRecord)
    costs = store.records("cost", CostRecord)
    wanted = {trial.key for plan in prepared.plans for trial in all_trials(plan, records)}
    used = {key: record for key, record in records.items() if key in wanted}
    plans = [(plan, plan if plan.tune(records) else plan.cut_short(records)) for plan in prepared.plans]
    finals = [_finals(plan, measure, records) for _, plan in plans if plan is not None]
    errors = [value for values in finals for value in values if value is not None]
    margin = margin_of(spec, measure, errors)
    settings = []
    for whole, plan in plans:
        tuning = None if plan is None else plan.tune(records)
        if plan is None or tuning is None:
            continue
        cost = costs.get(cost_key(plan))
        if cost is not None and not cost.variants:
            cost = None
        settings.append(
            analyse(
                Evidence(plan, tuning, measure, used, cost, spec.exploratory),
                name=prepared.name_of(whole),
                in_shape=prepared.in_shape,
                out_features=prepared.out_features,
                classes=prepared.data.classes,
                margin=margin,
                notes=_notes(prepared, whole),
            )
        )
    level = sum(errors) / len(errors) if errors else None
    return assemble(
        question=prepared.question,
        data=data_summary(prepared, margin, level),
        settings=settings,
        probe=_probe(store) if spec.probe else None,
        records=used,
        planned=max(len(used), sum(_planned(plan, records) for plan in prepared.plans)),
        reproduction={
            "command": command,
            "directory": str(directory),
            "spec": spec.model_dump(mode="json"),
            "versions": versions(),
            "machine": machine(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": seconds,
        },
        study=spec.study,
        exploratory=spec.exploratory,
        shed=fitted.shed,
        references=summarize_references(store.records("reference", ReferenceRecord).values())
        if spec.references
        else (),
    )


_WARNING = "Warning: "
"""What notes on a user's model begin with that may make every number wrong."""


def _notes(prepared: Prepared, plan: Plan) -> tuple[str, ...]:
    return tuple(n for n in prepared.notes.get(plan.ground.name, ()) if not n.startswith(_WARNING))


def data_summary(prepared: Prepared, margin: float, level: float | None) -> DataSummary:
    """The data as it was understood, with what may make every number wrong."""
    serious = dict.fromkeys(
        note.removeprefix(_WARNING)
        for notes in prepared.notes.values()
        for note in notes
        if note.startswith(_WARNING)
    )
    summary = _summary(prepared, margin, level)
    return replace(summary, warnings=(*summary.warnings, *serious))


def _summary(prepared: Prepared, margin: float, level: float | None) -> DataSummary:
    return summarize_data(
        prepared.data,
        prepared.sizes,
        prepared.split_notes,
        prepared.measure,
        prepared.metric_reason,
        margin,
        level,
    )


def all_trials(plan: Plan, records: Mapping[str, TrialRecord]) -> list[Trial]:
    """Every trial that is known to be needed."""
    tuning = plan.tune(records)
    return plan.scan(plan.grid(records)[0]) + ([] if tuning is None else plan.fresh(tuning))


def _planned(plan: Plan, records: Mapping[str, TrialRecord]) -> int:
    """Trials in all; before the scan is read the fresh ones are guessed."""
    if plan.tune(records) is None:
        return round(len(plan.variants) * trainings(plan))
    return len(all_trials(plan, records))


def _finals(plan: Plan, measure: Measure, records: Mapping[str, TrialRecord]) -> list[float | None]:
    """Final test metric of the baseline's fresh seeds."""
    tuning = plan.tune(records)
    if tuning is None:
        return []
    baseline = plan.baseline_variant
    lr = tuning.tuned[plan.baseline]
    return [measure.final(records.get(plan.trial(baseline, lr, seed).key), "test") for seed in plan.seeds]


def plan_summary(planned: Planned) -> PlanSummary:
    """The plan in words and numbers, before anything runs."""
    fitted = planned.fitted
    prepared, spec = fitted.prepared, fitted.prepared.spec
    settings = tuple(_planned_setting(prepared, plan) for plan in prepared.plans)
    return PlanSummary(
        question=prepared.question,
        study=spec.study,
        data=data_summary(prepared, margin_of(spec, prepared.measure, ()), None),
        settings=settings,
        seeds=spec.seeds,
        scan_seeds=spec.scan_seeds,
        exploratory=spec.exploratory,
        references=tuple(REFERENCES[prepared.data.task]) if spec.references else (),
        trainings=sum(setting.trainings for setting in settings),
        workers=planned.workers,
        seconds=fitted.seconds,
        budget=fitted.budget,
        fits=fitted.fits,
        shed=fitted.shed,
        directory=str(planned.directory),
        resumed=planned.resumed,
    )


def _planned_setting(prepared: Prepared, plan: Plan) -> PlannedSetting:
    ground = plan.ground
    return PlannedSetting(
        name=prepared.name_of(plan),
        network=describe(ground.network, prepared.in_shape, prepared.out_features),
        batch_size=ground.batch_size,
        optimizer=ground.optimizer,
        steps=ground.steps,
        epochs=ground.steps * ground.batch_size / (ground.train_share * prepared.sizes[0]),
        variants=tuple(variant.name for variant in plan.variants),
        baseline=plan.baseline,
        lrs=prepared.spec.lrs or LEARNING_RATES[ground.optimizer],
        initializations=tuple(init.name for init in prepared.spec.initializations),
        trainings=round(len(plan.variants) * trainings(plan)),
        notes=_notes(prepared, plan),
    )


def _references(store: Store) -> tuple[ReferenceResult, ...]:
    return summarize_references(tuple(store.records("reference", ReferenceRecord).values()))


def _probe(store: Store) -> GradientProbe | None:
    known = store.records("probe", ProbeRecord)
    wanted = {case.name: [probe_key(case, seed) for seed in range(SEEDS)] for case in CASES}
    if any(key not in known for keys in wanted.values() for key in keys):
        return None
    return summarize_probe({name: [known[key] for key in keys] for name, keys in wanted.items()})
