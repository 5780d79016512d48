"""Milliseconds of one training step: all variants of a setting in turn, in one otherwise idle process.

Bursts alternate (A B C … A B C …), so that what the machine does meanwhile falls on all of them alike; a burst's figure
is its median step, a variant's the median of its bursts, and a ratio is taken burst by burst.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from dataclasses import dataclass

import torch

from normwise.compare.network_spec import Initialization
from normwise.compare.plan import Ground
from normwise.compare.splits import split_for
from normwise.compare.stats import exponential, paired_effect
from normwise.compare.training import Training
from normwise.compare.variant import Variant
from normwise.data import Dataset
from normwise.results import CostResult, Estimate

ROUNDS = 15
STEPS = 12
WARM_UP = 2
"""The first steps of a burst find cold caches and do not count."""

LR = 1e-4
"""Small, so that a training that is only timed stays finite."""


@dataclass(frozen=True)
class CostRecord:
    """Median seconds of a step for each variant and burst; empty where a training raised."""

    variants: tuple[str, ...]
    bursts: tuple[tuple[float, ...], ...]  # by variant


def measure_cost(
    ground: Ground, variants: tuple[Variant, ...], initializations: tuple[Initialization, ...], data: Dataset
) -> CostRecord:
    """Time the variants of a setting against each other, each from its initialization; random states are left alone."""
    with torch.random.fork_rng(devices=[]), contextlib.suppress(Exception, SystemExit):
        split = split_for(ground, data, 0)
        trainings = [
            Training(ground, variant, initialization, split, lr=LR, seed=0)
            for variant, initialization in zip(variants, initializations, strict=True)
        ]
        bursts: list[list[float]] = [[] for _ in variants]
        for _ in range(ROUNDS):
            for training, times in zip(trainings, bursts, strict=True):
                times.append(_burst(training))
        return CostRecord(tuple(v.name for v in variants), tuple(tuple(times) for times in bursts))
    return CostRecord((), ())  # a training that raises is told by its trial; here it only has no time


def _burst(training: Training) -> float:
    times = []
    for _ in range(STEPS):
        started = time.perf_counter()
        training.step()
        times.append(time.perf_counter() - started)
    return statistics.median(times[WARM_UP:])


def cost_result(record: CostRecord, variant: str, baseline: str) -> CostResult:
    """A variant's milliseconds and its ratio to the baseline, burst by burst; above one is slower."""
    of = dict(zip(record.variants, record.bursts, strict=True))
    times, reference = of[variant], of[baseline]
    low, middle, high = statistics.quantiles(times, n=4)
    logs = [math.log(t / b) for t, b in zip(times, reference, strict=True)]
    effect = paired_effect(logs)
    ratio = Estimate(math.exp(effect.mean), exponential(effect.interval()), effect.pairs, "x")
    return CostResult(1000 * middle, 1000 * low, 1000 * high, ratio)
