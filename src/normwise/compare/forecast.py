"""How long a question takes: one training of every variant is timed for a moment, and the trials are counted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from normwise.compare.check import Prepared
from normwise.compare.cost import LR, ROUNDS, STEPS
from normwise.compare.plan import MOST_EXTENSIONS, Ground, Plan
from normwise.compare.references import REFERENCES, estimate_seconds
from normwise.compare.spec import LEARNING_RATES
from normwise.compare.splits import split_for
from normwise.compare.trial import EVALUATIONS, SIGNALS, Run
from normwise.compare.variant import Variant

TIMED_SECONDS = 0.12
TIMED_STEPS = (2, 12)
"""A variant's steps are timed for so long, at least and at most so many of them, after two that find cold caches."""

ENDING = 1.3
"""The last evaluation with the training loss in training mode, which reads fewer rows."""

ALL_TIMED_SECONDS = 12.0
"""Once timing has taken this long, further settings are taken from the ones timed."""

START_SECONDS = 4.0
PROBE_SECONDS = 7.0
"""Core seconds: of a worker until its first task, and of the gradient probe (measured)."""

UNUSED_SEED = 999_999
"""No trial has it, so that its split is not at hand."""

REFERENCE_SEEDS = 5

SIDE_BY_SIDE = 1.25
"""A training beside others takes so much longer than alone: they share caches and memory (measured)."""

MORE_RATES = 1.6
"""Fresh trainings per variant and seed: at its tuned, its fastest and the baseline's rate, which often agree."""

MORE_SCANS = 0.5
"""Further points of a grid that are needed on average, of at most two."""


@dataclass(frozen=True)
class Timing:
    """Seconds of the parts of one training, measured alone."""

    set_up: float
    step: float
    look: float  # one evaluation on the way
    last: float  # the last one
    signals: float

    def training(self, steps: int) -> float:
        """Seconds of a whole training."""
        looks = min(EVALUATIONS, steps + 1)
        return (
            self.set_up
            + steps * self.step
            + (looks - 1) * self.look
            + ENDING * self.last
            + SIGNALS * self.signals
        )


Key = tuple[str, int | None, int, str, float, str]
"""A setting without its number of steps, and a variant."""


@dataclass(frozen=True)
class Timings:
    """What was timed of a question; it holds for every narrower one as well."""

    of: Mapping[Key, Timing]
    split: float  # seconds to prepare one split
    references: float  # core seconds of the models that are no networks
    workers: int

    def seconds(self, prepared: Prepared) -> float:
        """Wall seconds that the question takes from nothing to its answer."""
        side_by_side = cost = 0.0
        for plan in prepared.plans:
            for variant in plan.variants:
                timing = self.of[_key(plan.ground, variant)]
                side_by_side += trainings(plan) * timing.training(plan.ground.steps)
                cost += ROUNDS * STEPS * timing.step + timing.set_up
        if prepared.spec.probe:
            side_by_side += PROBE_SECONDS
        if prepared.spec.references:
            side_by_side += self.references
        busy = SIDE_BY_SIDE if self.workers > 1 else 1.0
        seeds = prepared.spec.seeds + prepared.spec.scan_seeds
        splits = self.split * seeds * len({(p.ground.steps, p.ground.train_share) for p in prepared.plans})
        return START_SECONDS + splits + busy * side_by_side / self.workers + cost


def trainings(plan: Plan) -> float:
    """Trainings of one variant of a plan, those that the scan will ask for guessed."""
    spec = plan.spec
    grid = len(spec.lrs or LEARNING_RATES[plan.ground.optimizer])
    extension = min(MORE_SCANS, MOST_EXTENSIONS) if grid > 1 else 0.0
    scan = (grid + extension) * spec.scan_seeds
    return scan + spec.seeds * (min(MORE_RATES, grid) + len(spec.initializations) - 1)


def time_question(prepared: Prepared, workers: int) -> Timings:
    """Time every variant of every setting for a moment, with one thread as in a worker."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            return _Timer(prepared).all(workers)
    finally:
        torch.set_num_threads(threads)


@dataclass
class _Timer:
    prepared: Prepared
    of: dict[Key, Timing] = field(default_factory=dict)

    def all(self, workers: int) -> Timings:
        started = time.perf_counter()
        first = self.prepared.plans[0]
        self._timed(first, first.variants[0])  # the first of all finds nothing loaded and does not count
        for plan in self.prepared.plans:
            for variant in plan.variants:
                key = _key(plan.ground, variant)
                late = time.perf_counter() - started > ALL_TIMED_SECONDS
                near = self._nearest(plan.ground, variant) if late else None
                self.of[key] = near or self._timed(plan, variant)
        data, spec = self.prepared.data, self.prepared.spec
        split = seconds_of(lambda: split_for(self.prepared.plans[0].ground, data, UNUSED_SEED))
        references = sum(
            estimate_seconds(
                name, self.prepared.sizes[0], math.prod(self.prepared.in_shape), len(data.classes)
            )
            for name in REFERENCES[data.task]
        )
        return Timings(self.of, split, min(spec.seeds, REFERENCE_SEEDS) * references, workers)

    def _timed(self, plan: Plan, variant: Variant) -> Timing:
        try:
            return _time(plan, variant, self.prepared)
        except (Exception, SystemExit):
            # A training that raises is a result of the run; here it only has no time of its own.
            return self._nearest(plan.ground, variant) or Timing(0.0, 0.0, 0.0, 0.0, 0.0)

    def _nearest(self, ground: Ground, variant: Variant) -> Timing | None:
        """What was timed of the same kind of network, best of the same variant."""
        same = [(key, timing) for key, timing in self.of.items() if key[0] == ground.network.kind]
        of_variant = [timing for key, timing in same if key[-1] == variant.name]
        return of_variant[-1] if of_variant else same[-1][1] if same else None


def _key(ground: Ground, variant: Variant) -> Key:
    return (
        ground.network.kind,
        ground.depth,
        ground.batch_size,
        ground.optimizer,
        ground.train_share,
        variant.name,
    )


def _time(plan: Plan, variant: Variant, prepared: Prepared) -> Timing:
    """Set a training up as a worker does, and time its parts."""
    split_for(plan.ground, prepared.data, 0)  # kept, as a worker keeps it
    trial = plan.trial(variant, LR, 0)
    started = time.perf_counter()
    run = Run(trial, prepared.data)
    set_up = time.perf_counter() - started
    run.train_steps(2)
    steps, spent = 0, 0.0
    while steps < TIMED_STEPS[0] or (steps < TIMED_STEPS[1] and spent < TIMED_SECONDS):
        spent += seconds_of(lambda: run.train_steps(1))
        steps += 1
    look = seconds_of(lambda: run.evaluate(final=False))
    last = seconds_of(lambda: run.evaluate(final=True))
    signals = seconds_of(run.measure_signals)
    return Timing(set_up, spent / steps, look, last, signals)


def seconds_of(function: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started
