"""One setting: every variant, every claim."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from normwise.compare.analysis.claims import claims, gap_of
from normwise.compare.analysis.curves import (
    curve,
    gradient_flow,
    last_signals,
    layerwise,
    median,
    percentiles,
)
from normwise.compare.analysis.evidence import Evidence, Records
from normwise.compare.analysis.recommend import recommend
from normwise.compare.cost import cost_result
from normwise.compare.measures import Measure
from normwise.compare.network import describe
from normwise.compare.stats import paired_effect, wilson
from normwise.compare.variant import Variant
from normwise.report.names import full_name
from normwise.results import (
    Estimate,
    FinalSeed,
    InitSpread,
    Interval,
    LearningRatePoint,
    Setting,
    TrialRecord,
    VariantResult,
)


def analyse(
    evidence: Evidence,
    *,
    name: str,
    in_shape: tuple[int, ...],
    out_features: int,
    classes: tuple[str, ...] = (),
    margin: float,
    notes: tuple[str, ...],
) -> Setting:
    """Summarise the records of a setting.

    Args:
        evidence: the finished plan of the setting.
        name: what the setting is called beside the others of the run.
        in_shape, out_features, classes: the data's shapes and classes, for the network in words and as code.
        margin: differences of the metric within ± margin count as none.
        notes: what was left out of the setting, and why.
    """
    plan, tuning = evidence.plan, evidence.tuning
    lines = claims(evidence, margin)
    variants = tuple(_variant(evidence, variant) for variant in plan.variants)
    return Setting(
        name=name,
        network=describe(plan.ground.network, in_shape, out_features),
        batch_size=plan.ground.batch_size,
        optimizer="SGD, momentum 0.9" if plan.ground.optimizer == "sgd" else plan.ground.optimizer,
        steps=plan.ground.steps,
        grid=tuning.grid,
        grid_extended=tuning.extended,
        scan_seeds=plan.scan_seeds,
        seeds=plan.seeds,
        baseline=plan.baseline,
        target=tuning.target,
        target_reason=tuning.target_reason,
        comparisons=evidence.comparisons,
        variants=variants,
        claims=lines,
        notes=(*notes, *still_rising(variants, evidence.measure, margin)),
        recommendation=recommend(
            evidence, lines, margin=margin, in_shape=in_shape, out_features=out_features, classes=classes
        ),
        depth=plan.ground.depth,
        train_share=plan.ground.train_share,
    )


RISING = 0.05
"""A second half of training that brings more than this share of the whole way is no end of it."""


def still_rising(variants: Sequence[VariantResult], measure: Measure, margin: float) -> tuple[str, ...]:
    """Say so where validation was still getting better at the end: longer training may answer differently."""
    rising = [variant for variant in variants if _rises(variant, measure, margin)]
    if not rising:
        return ()
    which = "all variants" if len(rising) == len(variants) else ", ".join(v.name for v in rising)
    steps = rising[0].validation_curve.steps[-1]
    return (
        f"validation was still getting better in the second half of training ({which}): longer training may answer "
        f"differently; try --steps {4 * steps}",
    )


def _rises(variant: VariantResult, measure: Measure, margin: float) -> bool:
    curve = variant.validation_curve
    known = [(s, v) for s, v in zip(curve.steps, curve.median, strict=True) if v is not None]
    if len(known) < 3:
        return False
    (_, first), (last_step, last) = known[0], known[-1]
    middle = max((pair for pair in known if pair[0] <= last_step / 2), key=lambda pair: pair[0])[1]
    gain, way = measure.sign * (last - middle), measure.sign * (last - first)
    return gain > max(2 * margin, RISING * way)


def _variant(evidence: Evidence, variant: Variant) -> VariantResult:
    measure, tuning = evidence.measure, evidence.tuning
    tuned = evidence.tuned(variant)
    present = [record for record in tuned if record is not None]
    every = _all_records(evidence, variant)
    diverged = sum(record.outcome == "diverged" for record in every if record is not None)
    ran = sum(record is not None for record in every)

    target = tuning.target
    return VariantResult(
        name=variant.name,
        description=full_name(variant.name),
        parameters=present[0].parameters if present else 0,
        tuned_lr=tuning.tuned[variant.name],
        fastest_lr=tuning.fastest[variant.name],
        tuned_at_edge=tuning.at_edge[variant.name],
        scan=tuple(_scan_point(evidence, variant, lr) for lr in tuning.grid),
        validation_curve=curve(tuned, lambda e: measure.value(e, "validation"), sign=measure.sign),
        train_loss_curve=curve(tuned, lambda e: e.train_loss, sign=-1),
        fixed_validation_curve=curve(
            evidence.fixed(variant), lambda e: measure.value(e, "validation"), sign=measure.sign
        ),
        steps_to_target=tuple(
            None if r is None or target is None else measure.steps_to(r, target) for r in tuned
        ),
        seconds_to_target=tuple(
            None if r is None or target is None else measure.seconds_to(r, target) for r in tuned
        ),
        initializations=tuple(
            _init_spread(evidence, init.name, evidence.tuned(variant, init))
            for init in evidence.plan.spec.initializations_of(variant)
        ),
        gradient=gradient_flow(tuned),
        percentiles=percentiles(tuned),
        final=tuple(_final(evidence, seed, r) for seed, r in zip(evidence.plan.seeds, tuned, strict=True)),
        gap=_gap(evidence, tuned),
        cost=None
        if evidence.cost is None
        else cost_result(evidence.cost, variant.name, evidence.plan.baseline),
        dead_fraction=_mean(layerwise(tuned, last_signals, lambda s: s.dead_fraction)),
        correlation=_mean(layerwise(tuned, last_signals, lambda s: s.correlation)),
        activation_std=layerwise(tuned, last_signals, lambda s: s.activation_std),
        train_eval_discrepancy=median([_discrepancy(record) for record in present]),
        diverged=diverged,
        runs=ran,
        divergence_interval=wilson(diverged, ran),
        failed=sum(record is None for record in every),
        sparsity=median([record.sparsity for record in present]),
        norm=variant.norm,
        penalties={
            name: value
            for name in ("dropout", "l1", "l2", "weight_decay")
            if (value := getattr(variant, name))
        },
    )


def _all_records(evidence: Evidence, variant: Variant) -> Records:
    """Scan and fresh trials of the variant, each once."""
    rates = (evidence.tuning.tuned[variant.name], evidence.tuning.tuned[evidence.plan.baseline])
    fastest = evidence.tuning.fastest[variant.name]
    records: Records = []
    for lr in evidence.tuning.grid:
        records += evidence.scanned(variant, lr)
    for lr in dict.fromkeys((*rates, *(() if fastest is None else (fastest,)))):
        records += evidence.fresh(variant, lr)
    for init in evidence.plan.spec.initializations[1:]:
        records += evidence.tuned(variant, init)
    return records


def _scan_point(evidence: Evidence, variant: Variant, lr: float) -> LearningRatePoint:
    records = evidence.scanned(variant, lr)
    values = tuple(evidence.measure.final(record, "validation") for record in records)
    diverged = sum(record is not None and record.outcome == "diverged" for record in records)
    ran = sum(record is not None for record in records)
    return LearningRatePoint(lr, values, median(values), diverged, ran, wilson(diverged, ran))


def _init_spread(evidence: Evidence, name: str, records: Records) -> InitSpread:
    values = tuple(evidence.measure.final(r, "test") for r in records)
    return InitSpread(
        name, values, median(values), sum(r is not None and r.outcome == "diverged" for r in records)
    )


def _final(evidence: Evidence, seed: int, record: TrialRecord | None) -> FinalSeed:
    final = evidence.measure.final
    diverged = record is not None and record.outcome == "diverged"
    return FinalSeed(
        seed, final(record, "train"), final(record, "validation"), final(record, "test"), diverged
    )


def _gap(evidence: Evidence, records: Records) -> Estimate:
    gaps = [gap_of(evidence, record) for record in records if record is not None]
    known = [gap for gap in gaps if gap is not None]
    unit = evidence.measure.difference_unit
    if not known:
        return Estimate(None, Interval(None, None), 0, unit)
    effect = paired_effect(known)
    return Estimate(effect.mean, effect.interval(), effect.pairs, unit)


def _mean(values: tuple[float | None, ...]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _discrepancy(record: TrialRecord) -> float | None:
    """|training-mode loss − evaluation-mode loss| over the larger of the two."""
    trained, evaluated = record.train_mode_loss, record.evaluations[-1].train_loss
    if trained is None or evaluated is None:
        return None
    return abs(trained - evaluated) / max(abs(trained), abs(evaluated), 1e-12)
