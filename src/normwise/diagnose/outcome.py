"""How a short training went, in the few numbers that several rules read."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from normwise.diagnose.facts import Facts, RunFacts
from normwise.monitor.observe import LayerState, Observation
from normwise.results.diagnosis import Series

LITTLE = 0.3
"""A training has got little done where neither loss nor metric have come this share of the way."""


_BY_HEART = 0.1
"""Of the way on held-out samples; a training that comes no further has learned its samples at most."""

HALF = 0.5
"""Half of the way; see `falls_short`."""


def progress(run: RunFacts) -> float:
    """Share of the loss on training samples that is gone, in the better of both modes; below 0 where it has grown.

    It is held against the first loss, or that of the best constant answer if this is smaller: to come down from a bad
    start to an answer that looks at nothing is no progress.
    """
    if run.diverged is not None or not run.evaluated:
        return -math.inf
    first = run.evaluated[0]
    start = max(min(first.train_loss, first.batch_loss, run.baseline_loss), 1e-30)
    ends = [min(each.train_loss, each.batch_loss) for each in run.evaluated[-2:]]
    return 1 - min(ends) / start if all(map(math.isfinite, ends)) else -math.inf


def gained(run: RunFacts) -> float:
    """Share of the way from the best constant answer to a perfect one, on training samples."""
    best = max((each.train_metric for each in run.evaluated[-2:]), default=-math.inf)
    return (best - run.baseline) / max(1 - run.baseline, 1e-9) if math.isfinite(best) else -math.inf


def learned_little(run: RunFacts) -> bool:
    """Whether the training has got little done, by loss and by metric."""
    return progress(run) < LITTLE and gained(run) < LITTLE


def begins_slowly(facts: Facts) -> bool:
    """Whether a longer training learns what the short one has not begun to, and not by heart."""
    longer = facts.longer
    if longer is None or longer.diverged is not None or learned_little(longer):
        return False
    return held_out(longer) > _BY_HEART


def held_out(run: RunFacts) -> float:
    """Share of the way from the best constant answer to a perfect one, on held-out samples."""
    last = run.evaluated[-1].validation_metric
    return (last - run.baseline) / max(1 - run.baseline, 1e-9) if math.isfinite(last) else math.nan


def observed(observation: Observation) -> tuple[LayerState, ...]:
    """Layers through which a gradient was measured, the output layer among them."""
    return tuple(layer for layer in observation.layers if layer.weight_gradient_rms is not None)


def falls_short(run: RunFacts) -> bool:
    """Whether it has not come half of the way, by loss and by metric."""
    return max(progress(run), gained(run)) < HALF


def hidden(observation: Observation) -> tuple[LayerState, ...]:
    """Layers with an activation through which a gradient was measured."""
    return tuple(layer for layer in observation.hidden if layer.weight_gradient_rms is not None)


def decades(observation: Observation) -> float | None:
    """log₁₀ of how much smaller the weights' gradients are in the first layer than in the output layer.

    Fitted by least squares to the RMS over the layers; None with fewer than three hidden ones.
    """
    found = [layer.weight_gradient_rms or 0.0 for layer in observed(observation)]
    if len(hidden(observation)) < 3 or not all(map(math.isfinite, found)):
        return None
    logs = [math.log10(max(value, 1e-30)) for value in found]
    return slope(logs) * (len(logs) - 1)


def slope(values: Sequence[float]) -> float:
    """Of the straight line through values at 0, 1, 2, …

    >>> slope([1.0, 3.0, 5.0])
    2.0
    """
    middle = (len(values) - 1) / 2
    mean = statistics.fmean(values)
    spread = sum((i - middle) ** 2 for i in range(len(values)))
    return sum((i - middle) * (value - mean) for i, value in enumerate(values)) / spread


def early_update(run: RunFacts) -> float | None:
    """Median over layers of ‖Δw‖ / ‖w‖ in the first steps; None where no weight was watched."""
    found = [size for steps in run.updates.values() for step, size in steps if step <= 5]
    return statistics.median(found) if found else None


def typical_update(run: RunFacts) -> float | None:
    """Median over layers and steps of ‖Δw‖ / ‖w‖."""
    found = [size for steps in run.updates.values() for _, size in steps]
    return statistics.median(found) if found else None


def loss_figure(run: RunFacts) -> Series:
    """The batches' losses over the steps, a hundred points at most."""
    every = max(1, len(run.losses) // 100)
    kept = list(enumerate(run.losses))[::every]
    values = tuple(value if math.isfinite(value) else None for _, value in kept)
    return Series("training loss", "steps", tuple(str(step) for step, _ in kept), values, log=True)


def layer_figure(name: str, layers: Sequence[LayerState], values: Sequence[float | None]) -> Series:
    """A number of each layer."""
    return Series(name, "layers", tuple(layer.name for layer in layers), tuple(values), log=True)
