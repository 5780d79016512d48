"""Medians over seeds: curves, gradient flow, percentiles."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

import numpy as np

from normwise.compare.analysis.evidence import Records
from normwise.compare.stats import exponential, paired_effect
from normwise.results import (
    ActivationPercentiles,
    Curve,
    Evaluation,
    GradientFlow,
    Interval,
    LayerSignals,
    TrialRecord,
)

FEWEST_LAYERS = 3
"""Under three layers there is no slope to fit."""


def median(values: Sequence[float | None]) -> float | None:
    """Median of the values that exist."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def curve(records: Records, read: Callable[[Evaluation], float | None], *, sign: int) -> Curve:
    """Median and quartiles over seeds at every evaluation; a seed that diverged counts as the worst from there on.

    Args:
        records: one per seed.
        read: the quantity.
        sign: +1 where higher is better; it says which side the worst is on.
    """
    present = [record for record in records if record is not None]
    steps = sorted({e.step for record in present for e in record.evaluations if record.diverged_at is None})
    rows = [{e.step: e for e in record.evaluations} for record in present]
    centre, low, high, seconds = [], [], [], []
    for step in steps:
        values = [_worst_if_none(read(row[step]) if step in row else None, sign) for row in rows]
        quartiles = np.quantile(values, (0.25, 0.5, 0.75), method="nearest")
        low.append(_finite(quartiles[0]))
        centre.append(_finite(statistics.median(values)))
        high.append(_finite(quartiles[2]))
        seconds.append(statistics.median(row[step].seconds for row in rows if step in row))
    return Curve(tuple(steps), tuple(seconds), tuple(centre), tuple(low), tuple(high))


def _worst_if_none(value: float | None, sign: int) -> float:
    return -sign * math.inf if value is None else value


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def slope(signals: LayerSignals | None, sizes: Sequence[int]) -> float | None:
    """The factor per layer of the squared gradient norm going back towards the input, fitted in logs over depth.

    Args:
        signals: with the gradient's RMS at each layer.
        sizes: elements of each layer for one sample: the squared norm is RMS² times them.
    """
    rms = () if signals is None else signals.gradient_rms
    if len(rms) < FEWEST_LAYERS or any(value is None or value <= 0 for value in rms):
        return None
    logs = 2 * np.log(np.array(rms, dtype=np.float64)) + np.log(sizes)
    return float(np.exp(-np.polyfit(np.arange(len(logs)), logs, 1)[0]))


def first_signals(record: TrialRecord) -> LayerSignals | None:
    """Signals before training."""
    return record.signals[0] if record.signals else None


def last_signals(record: TrialRecord) -> LayerSignals | None:
    """Signals after training."""
    return record.signals[-1] if record.signals else None


def layerwise(
    records: Records,
    when: Callable[[TrialRecord], LayerSignals | None],
    read: Callable[[LayerSignals], tuple[float | None, ...]],
) -> tuple[float | None, ...]:
    """Median over seeds of a signal, layer by layer."""
    rows = [
        read(signals) for record in records if record is not None and (signals := when(record)) is not None
    ]
    return tuple(median(column) for column in zip(*rows, strict=True))


def gradient_flow(records: Records) -> GradientFlow:
    """Gradient RMS by layer and its slope, at the start and at the end."""

    def slopes(when: Callable[[TrialRecord], LayerSignals | None]) -> tuple[float | None, Interval]:
        found = [slope(when(record), record.sizes) for record in records if record is not None]
        logs = [math.log(value) for value in found if value is not None]
        if not logs:
            return None, Interval(None, None)
        effect = paired_effect(logs)
        return math.exp(effect.mean), exponential(effect.interval())

    start, start_interval = slopes(first_signals)
    end, end_interval = slopes(last_signals)
    layers = next((record.layers for record in records if record is not None), ())
    return GradientFlow(
        layers,
        layerwise(records, first_signals, lambda s: s.gradient_rms),
        layerwise(records, last_signals, lambda s: s.gradient_rms),
        start,
        end,
        start_interval,
        end_interval,
    )


def percentiles(records: Records) -> ActivationPercentiles:
    """The percentiles of one unit over training, in the first seed that has them."""
    record = next((r for r in records if r is not None), None)
    signals = () if record is None else record.signals
    rows = [s.percentiles for s in signals] or [(None, None, None)]
    p15, p50, p85 = zip(*rows, strict=True)
    if not signals:
        return ActivationPercentiles((), (), (), ())
    return ActivationPercentiles(tuple(s.step for s in signals), p15, p50, p85)
