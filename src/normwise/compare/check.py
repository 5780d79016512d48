"""Everything that can be found wrong with a question is found before the first training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from normwise.augment import build as build_augmentation
from normwise.compare.measures import Measure, find_measure
from normwise.compare.network import build, initialize
from normwise.compare.plan import Ground, Plan, grounds
from normwise.compare.spec import Initialization, Network, NetworkKind, Spec
from normwise.compare.training import INITIAL_ROWS
from normwise.compare.variant import Variant
from normwise.data import Dataset, Split, load
from normwise.errors import ArgumentError, explain

DEFAULT_STEPS = 250


@dataclass(frozen=True)
class Prepared:
    """A question that can be asked: its data, its metric, its plans."""

    spec: Spec
    data: Dataset
    split: Split  # of the first fresh seed, for shapes and sizes
    measure: Measure
    plans: tuple[Plan, ...]

    @property
    def question(self) -> str:
        """The question in words."""
        kinds = {"mlp": "this multilayer perceptron", "cnn": "this convolutional network"}
        networks = " and ".join(dict.fromkeys(kinds[network.kind] for network in self.spec.networks))
        return f"On {self.data.name}, what does {self._subject()} do for {networks}?"

    def _subject(self) -> str:
        """What the variants differ in, in a word or two."""
        variants = [variant for plan in self.plans for variant in plan.variants]
        norms = {(v.norm, v.position, v.norm_output) for v in variants}
        others = {(v.dropout, v.l1, v.l2, v.weight_decay, v.augment) for v in variants}
        varied = ["normalization"] * (len(norms) > 1) + ["regularization"] * (len(others) > 1)
        return " or ".join(varied)

    def name_of(self, plan: Plan) -> str:
        """The kind of network, with whatever else the settings of this run differ in."""
        ground = plan.ground
        parts: list[str] = [ground.network.kind]
        if ground.depth is not None:
            parts.append(f"depth {ground.depth}")
        if len(self.spec.batch_sizes) > 1:
            parts.append(f"batch {ground.batch_size}")
        if len(self.spec.optimizers) > 1:
            parts.append(ground.optimizer)
        return ", ".join(parts)

    def notes_of(self, plan: Plan) -> tuple[str, ...]:
        """What this setting leaves out of the question, and why."""
        asked = self.spec.variants or ()
        missing = [variant.name for variant in asked if variant not in plan.variants]
        if not missing:
            return ()
        return (
            f"{', '.join(missing)}: left out, because Instance Normalization needs positions to average over",
        )


def prepare(spec: Spec) -> Prepared:
    """Load the data, fill in what the question left open, and try every network on one batch.

    Raises:
        ArgumentError, UnknownNameError, DataError: the first thing found wrong.
    """
    data = load(spec.data, target=spec.target, task=spec.task)
    if not spec.networks:
        kinds: tuple[NetworkKind, ...] = ("mlp",) if data.in_shape is None else ("mlp", "cnn")
        networks = tuple(Network(kind=kind, activation=spec.activation) for kind in kinds)
        spec = spec.model_copy(update={"networks": networks})
    measure = find_measure(spec.metric, data.task)
    _check_goal(spec.goal, measure)
    split = data.split(0)
    rows = len(split.train.targets)
    steps = {size: _steps(spec, size, rows) for size in spec.batch_sizes}
    plans = []
    for ground in grounds(spec, steps_of=steps):
        _check_variants(spec.variants_for(ground.network.kind), ground)
        plan = Plan(spec, ground, data=data.fingerprint, measure=measure)
        for variant in plan.variants:
            _try(ground, variant, spec.initializations, split)
        plans.append(plan)
    if all(len(plan.variants) < 2 for plan in plans):
        raise ArgumentError(
            explain(
                "compare",
                "there must be two variants or more of one network to compare",
                ", ".join(dict.fromkeys(variant.name for plan in plans for variant in plan.variants)),
                "add one, as in --norm none,batch",
            )
        )
    return Prepared(spec, data, split, measure, tuple(plans))


def _steps(spec: Spec, batch_size: int, rows: int) -> int:
    """Steps of a training; a batch larger than the training part has no step."""
    if batch_size > rows:
        raise ArgumentError(
            explain(
                "compare",
                "a batch must not be larger than the training part",
                f"--batch-size {batch_size} and {rows:,} training rows",
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


def _check_variants(variants: Sequence[Variant], ground: Ground) -> None:
    if not variants:
        raise ArgumentError(
            explain(
                "compare",
                f"at least one variant must fit the {ground.network.kind}",
                "none: Instance Normalization needs positions, and this network has none",
                "add --norm layer, or use --network cnn on images",
            )
        )
    for variant in variants:
        if ground.batch_size == 1 and variant.norm == "batch":
            raise ArgumentError(
                explain(
                    "compare",
                    "Batch Normalization needs at least two rows a batch",
                    "--batch-size 1",
                    "use --norm group, which does not look at the batch, or a larger batch",
                )
            )


def _try(ground: Ground, variant: Variant, initializations: Sequence[Initialization], split: Split) -> None:
    """Build the network, draw its weights and run one batch, so that what cannot work is told at once."""
    batch = split.train.inputs[: min(ground.batch_size, INITIAL_ROWS)]
    if variant.augment:
        if batch.dim() != 4:
            raise ArgumentError(
                explain(
                    "compare",
                    "`augment` needs images",
                    f"{'+'.join(variant.augment)} for rows of {batch.shape[1]} columns",
                    "leave it away for this data",
                )
            )
        batch = build_augmentation(variant.augment)(batch, seed=0)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        model = build(ground.network, variant, split.in_shape, split.out_features)
        for initialization in initializations:
            initialize(
                model,
                variant,
                ground.network,
                initialization,
                seed=0,
                batch=split.train.inputs[:INITIAL_ROWS],
            )
        model(batch)
