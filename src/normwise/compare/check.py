"""Everything that can be found wrong with a question is found before the first training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from normwise.augment import build_both
from normwise.augment.operations import kind_of
from normwise.compare.measures import Measure, find_measure
from normwise.compare.network import build, initialize, notes_of_model, notes_of_norms, try_batch
from normwise.compare.network_spec import Initialization
from normwise.compare.plan import Ground, Plan, grounds
from normwise.compare.resolve import identified, resolve, where_data_is
from normwise.compare.spec import Spec
from normwise.compare.splits import split_for
from normwise.compare.studies import Study
from normwise.compare.training import INITIAL_ROWS
from normwise.compare.variant import Variant
from normwise.data import Dataset, Split, load
from normwise.errors import ArgumentError, NormwiseError, explain
from normwise.norms import OWN

DEFAULT_STEPS = 250
FEWEST_VARIANTS = 2


@dataclass(frozen=True)
class Prepared:
    """A question that can be asked: its data, its metric, its plans.

    Attributes:
        asked: the question as it was put.
        spec: the same with nothing left open.
        study: what filled it in.
        sizes: rows of train, validation and test of a split.
        in_shape, out_features: of a network.
        split_notes: what was imputed, encoded and dropped on the first split.
        metric_reason: why this metric, where it was chosen for the data.
        notes: what was found out about networks and variants, by setting name.
    """

    asked: Spec
    spec: Spec
    study: Study
    data: Dataset
    sizes: tuple[int, int, int]
    in_shape: tuple[int, ...]
    out_features: int
    split_notes: tuple[str, ...]
    measure: Measure
    metric_reason: str
    plans: tuple[Plan, ...]
    notes: dict[str, tuple[str, ...]]

    @property
    def question(self) -> str:
        """The question in words."""
        kinds = {"mlp": "this multilayer perceptron", "cnn": "this convolutional network"}
        named = (network.model or kinds[network.kind] for network in self.spec.networks)
        networks = " and ".join(dict.fromkeys(named))
        return f"On {self.data.name}, what does {self._subject()} do for {networks}?"

    def _subject(self) -> str:
        """What the variants differ in, in a word or two."""
        variants = [variant for plan in self.plans for variant in plan.variants]
        factors: dict[str, set[Any]] = {
            "normalization": {v.norm for v in variants},
            "its position": {(v.position, v.norm_output) for v in variants if v.norm != "none"},
            "initialization": {v.init for v in variants},
            "regularization": {(v.dropout, v.l1, v.l2, v.weight_decay, v.augment) for v in variants},
        }
        return " or ".join(name for name, values in factors.items() if len(values) > 1)

    def name_of(self, plan: Plan) -> str:
        """The kind of network, with whatever else the settings of this run differ in."""
        ground = plan.ground
        network = ground.network
        parts: list[str] = [network.model if network.kind == "model" else network.kind]
        if ground.depth is not None:
            parts.append(f"depth {ground.depth}")
        if len(self.spec.batch_sizes) > 1:
            parts.append(f"batch {ground.batch_size}")
        if len(self.spec.optimizers) > 1:
            parts.append(ground.optimizer)
        if len(self.spec.train_shares) > 1:
            parts.append(f"{100 * ground.train_share:g} % of the rows")
        return ", ".join(parts)

    def narrowed(self, spec: Spec) -> Prepared:
        """The same with a question that asks less: fewer variants, initializations or steps."""
        plans, _ = _plans(spec, self.data, self.sizes, self.measure, tried=True)
        return replace(self, spec=spec, plans=plans)


def prepare(
    spec: Spec, *, resolved: Spec | None = None, reading: Callable[[int, int], None] | None = None
) -> Prepared:
    """Load the data, fill in what the question left open, and try every network on one batch.

    Args:
        spec: the question.
        resolved: the same question with nothing left open, where an earlier run found that out.
        reading: told how many images of how many are decoded.

    Raises:
        ArgumentError, UnknownNameError, DataError: the first thing found wrong.
    """
    asked = identified(spec)
    spec = where_data_is(asked)
    data = load(
        spec.data,
        target=spec.target,
        task=spec.task,
        image_size=spec.image_size,
        drop=spec.drop,
        group=spec.group,
        time=spec.time,
        test_data=spec.test_data,
        progress=reading,
    )
    found = resolve(spec, data)
    spec = found.spec if resolved is None else resolved.model_copy(update={"seeds": spec.seeds})
    measure, why = find_measure(spec.metric, data.task, data.class_counts)
    _check_goal(spec.goal, measure)
    sizes = data.sizes()
    by_name = bool(asked.model_fields_set & {"variants"})
    plans, notes = _plans(spec, data, sizes, measure, by_name=by_name)
    spec = _without_refused(spec, plans)
    split = split_for(plans[0].ground, data, 0)
    return Prepared(
        asked,
        spec,
        found.study,
        data,
        sizes,
        split.in_shape,
        split.out_features,
        split.notes,
        measure,
        why,
        plans,
        notes,
    )


def _plans(
    spec: Spec,
    data: Dataset,
    sizes: tuple[int, int, int],
    measure: Measure,
    *,
    tried: bool = False,
    by_name: bool = True,
) -> tuple[tuple[Plan, ...], dict[str, tuple[str, ...]]]:
    """A plan for every setting; what cannot work is left out if the data chose it, and refused if a person did."""
    plans, notes = [], {}
    for ground in grounds(spec, steps_of=lambda size, share: _steps(spec, size, share, sizes[0])):
        said = list(_left_out(spec, ground))
        if not tried:
            _check_variants(spec, ground)
        plan = Plan(spec, ground, data=data.fingerprint, measure=measure)
        if not tried:
            split = split_for(ground, data, 0)
            said += notes_of_model(ground.network, split.in_shape, split.out_features)
            refused, seen = _tried(plan, split, by_name=by_name)
            if refused:
                plan.variants = tuple(v for v in plan.variants if v not in refused)
            said += notes_of_norms(ground.network, plan.variants, split.in_shape, split.out_features)
            said += [*seen, *refused.values()]
        plans.append(plan)
        notes[ground.name] = tuple(said)
    if all(len(plan.variants) < FEWEST_VARIANTS for plan in plans):
        raise ArgumentError(
            explain(
                "compare",
                "there must be two variants or more of one network to compare",
                ", ".join(dict.fromkeys(variant.name for plan in plans for variant in plan.variants)),
                "add one, as in --norm none,batch",
            )
        )
    return tuple(plans), notes


def _without_refused(spec: Spec, plans: Sequence[Plan]) -> Spec:
    """The question without the variants that a user's model does not take."""
    asked = {variant.name for plan in plans for variant in spec.variants_for(plan.ground.network.kind)}
    left = {variant.name: variant for plan in plans for variant in plan.variants}
    return spec if asked == set(left) else spec.model_copy(update={"variants": tuple(left.values())})


def _left_out(spec: Spec, ground: Ground) -> tuple[str, ...]:
    """Variants that were asked for and have no meaning in this network."""
    there = spec.variants_for(ground.network.kind)
    missing = [variant.name for variant in spec.variants or () if variant not in there]
    if not missing:
        return ()
    needs = "needs positions" if ground.network.kind == "mlp" else "takes rows of features"
    if any(variant.norm == OWN for variant in spec.variants or ()):
        needs += ", or is for a model of yours"
    each = "it" if len(missing) == 1 else "each"
    return (f"{', '.join(missing)}: left out, because {each} {needs}",)


def _tried(plan: Plan, split: Split, *, by_name: bool) -> tuple[dict[Variant, str], tuple[str, ...]]:
    """Try every variant on one batch; a user's model may not know a normalization that nobody asked for.

    Returns what was refused and why, and what was seen of the others.
    """
    refused: dict[Variant, str] = {}
    seen: dict[str, None] = {}
    for variant in plan.variants:
        try:
            seen |= dict.fromkeys(_try(plan.ground, variant, plan.spec.initializations_of(variant), split))
        except NormwiseError as error:
            if by_name or plan.ground.network.kind != "model" or variant.name == plan.baseline:
                raise
            refused[variant] = f"{variant.name}: left out, because the model does not take it ({error})"
    return refused, tuple(seen)


def _steps(spec: Spec, batch_size: int, share: float, train_rows: int) -> int:
    """Steps of a training; a batch larger than the training part has no step."""
    rows = max(1, round(share * train_rows))
    if batch_size > rows:
        which = f"{rows:,} training rows" + (f" ({share:.0%} of them)" if share < 1 else "")
        raise ArgumentError(
            explain(
                "compare",
                "a batch must not be larger than the training part",
                f"--batch-size {batch_size} and {which}",
                f"use --batch-size {max(1, min(64, rows // 2))}",
            )
        )
    if spec.epochs is None:
        return spec.steps or DEFAULT_STEPS
    return max(1, round(spec.epochs * (rows // batch_size)))


def _check_goal(goal: float | None, measure: Measure) -> None:
    """A goal in per cent must be one: 0.9 is hardly meant as 0.9 %."""
    if goal is not None and measure.unit == "%" and not 1 < goal <= 100:
        hint = f"{100 * goal:g} for {goal:g} as a share" if 0 < goal <= 1 else "a number from 1 to 100"
        raise ArgumentError(
            explain("compare", f"`goal` (--goal) must be a value of {measure.name}, in %", f"{goal:g}", hint)
        )


def _check_variants(spec: Spec, ground: Ground) -> None:
    variants = spec.variants_for(ground.network.kind)
    if not variants:
        images = ground.network.kind == "cnn"
        first = next(variant.kind.title for variant in spec.variants or ())
        needs = "takes rows of features" if images else "needs positions, and this network has none"
        raise ArgumentError(
            explain(
                "compare",
                f"at least one variant must fit the {ground.network.kind}",
                f"none: {first} {needs}",
                "add --norm rms" if images else "add --norm layer, or use --network cnn on images",
            )
        )
    for variant in variants:
        if ground.batch_size == 1 and variant.kind.across_samples:
            raise ArgumentError(
                explain(
                    "compare",
                    f"{variant.kind.title} needs at least two rows a batch",
                    "--batch-size 1",
                    "use --norm group, which does not look at the batch, or a larger batch",
                )
            )


def _try(
    ground: Ground, variant: Variant, initializations: Sequence[Initialization], split: Split
) -> tuple[str, ...]:
    """Build the network, draw its weights and run one batch, so that what cannot work is told at once."""
    batch = split.train.inputs[: min(ground.batch_size, INITIAL_ROWS)]
    targets = split.train.targets[: len(batch)]
    if variant.augment:
        batch = _augmented(variant.augment, batch)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for initialization in initializations:
            model = build(ground.network, variant, split.in_shape, split.out_features)
            initialize(
                model,
                variant,
                ground.network,
                initialization,
                seed=0,
                batch=split.train.inputs[:INITIAL_ROWS],
            )
        return try_batch(ground.network, variant, model, batch, targets, split.out_features)


def _augmented(names: Sequence[str], batch: torch.Tensor) -> torch.Tensor:
    """A batch under its policy; what mixes it is only held against the kind of data."""
    policy, mix = build_both(names)
    for part in (policy, mix):
        if part is not None and kind_of(batch.dim()) not in part.kinds:
            shape = " × ".join(map(str, batch.shape[1:]))
            data = f"rows of {shape} columns" if batch.dim() == 2 else f"images of {shape}"
            raise ArgumentError(
                explain(
                    "compare",
                    f"`augment` needs {' or '.join(part.kinds)}",
                    f"{'+'.join(names)} for {data}",
                    "leave it away for this data",
                )
            )
    return policy(batch, seed=0)
