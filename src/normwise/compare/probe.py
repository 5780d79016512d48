"""Gradient growth at initialisation of a wide, deep ReLU network, held against theory.

Backpropagated through one more layer of a wide network, the expected squared norm of the loss gradient with respect
to the pre-activations is multiplied by

- 1 under He initialisation (variance 2/n: He et al. 2015),
- ½ under variance 1/n (the ReLU lets half of the variance through),
- π/(π − 1) = 1.467 with Batch Normalization at large batch (Yang et al. 2019; width to infinity, then batch).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from normwise.compare.network import initialize
from normwise.compare.network_spec import Initialization, Network
from normwise.compare.stats import paired_effect
from normwise.compare.variant import Variant
from normwise.models import mlp
from normwise.results import Estimate, GradientProbe, Interval

WIDTH, DEPTH, BATCH = 384, 24, 256
SEEDS = 5
OUTPUTS = 10
SETTLED = 3
"""Layers at either end that the fit leaves out: theory speaks of the bulk."""


@dataclass(frozen=True)
class ProbeCase:
    """A network whose growth theory knows."""

    name: str
    norm: str
    initialization: Initialization
    oracle: float


CASES = (
    ProbeCase("He initialization", "none", Initialization(), 1.0),
    ProbeCase("variance 1/n", "none", Initialization(scale=math.sqrt(0.5)), 0.5),
    ProbeCase("Batch Normalization", "batch", Initialization(), math.pi / (math.pi - 1)),
)


@dataclass(frozen=True)
class ProbeRecord:
    """Squared gradient norm with respect to each hidden layer's pre-activations, first layer first."""

    squared_norms: tuple[float, ...]


def measure_probe(
    case: ProbeCase, seed: int, *, width: int = WIDTH, depth: int = DEPTH, batch: int = BATCH
) -> ProbeRecord:
    """One network, one Gaussian batch, one random cotangent at its output; no training."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(batch, width, generator=generator)
    cotangent = torch.randn(batch, OUTPUTS, generator=generator)
    with torch.random.fork_rng(devices=[]):
        model = mlp(width, OUTPUTS, widths=(width,) * depth, activation="relu", norm=case.norm)
        initialize(
            model,
            Variant(norm=case.norm),
            Network(kind="mlp"),
            case.initialization,
            seed=seed,
            batch=inputs,
        )
    received: list[torch.Tensor] = []
    for module in model.modules():
        if isinstance(module, torch.nn.ReLU):
            module.register_forward_pre_hook(lambda _, args: received.append(args[0]))
    model.train()
    output = model(inputs)
    gradients = torch.autograd.grad(output, received, cotangent)
    return ProbeRecord(tuple(float(g.double().square().sum()) for g in gradients))


def growth(record: ProbeRecord) -> float:
    """The factor per layer going back towards the input: the fitted slope of the log squared norm over depth."""
    logs = np.log(record.squared_norms)[SETTLED : len(record.squared_norms) - SETTLED]
    return float(np.exp(-np.polyfit(np.arange(len(logs)), logs, 1)[0]))


def summarize_probe(records: dict[str, list[ProbeRecord]]) -> GradientProbe:
    """Mean growth over seeds with its interval, beside the oracle."""
    measured, curves = [], []
    for case in CASES:
        effect = paired_effect([growth(record) for record in records[case.name]])
        interval: Interval = effect.interval()
        measured.append(Estimate(effect.mean, interval, effect.pairs, "per layer"))
        norms = np.log([record.squared_norms for record in records[case.name]]).mean(axis=0)
        curves.append(tuple(float(value) for value in np.exp(norms - norms[-1])))
    return GradientProbe(
        width=WIDTH,
        depth=DEPTH,
        batch_size=BATCH,
        seeds=len(records[CASES[0].name]),
        names=tuple(case.name for case in CASES),
        measured=tuple(measured),
        oracle=tuple(case.oracle for case in CASES),
        curves=tuple(curves),
    )
