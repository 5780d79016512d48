"""What one training leaves behind: one `TrialRecord`, one line of the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SCHEMA_VERSION = 2
"""Raised whenever the meaning of a stored field changes; a store of another version is refused."""

TrialOutcome = Literal["finished", "diverged", "raised"]
"""`diverged`: a loss that is not finite, or a final training loss above twice the loss before training. It is a
result. `raised`: an exception; it is an error."""


@dataclass(frozen=True)
class Evaluation:
    """Losses and metrics in evaluation mode after a number of steps.

    A value that is not finite is None. For regression the losses are of the standardised target, the metrics are in
    the target's own units.
    """

    step: int
    seconds: float  # wall time spent in training steps so far, evaluations excluded
    train_loss: float | None
    train_metric: float | None
    validation_loss: float | None
    validation_metric: float | None
    test_loss: float | None
    test_metric: float | None


@dataclass(frozen=True)
class LayerSignals:
    """Signals of every hidden layer at one step, in depth order, measured in training mode on one fixed batch.

    A layer is a Linear or convolution with the normalization and activation that follow it.
    """

    step: int
    gradient_rms: tuple[float | None, ...]  # of the loss with respect to the layer's pre-activation
    weight_gradient_rms: tuple[float | None, ...]  # of the loss with respect to the layer's weight
    activation_mean: tuple[float | None, ...]
    activation_std: tuple[float | None, ...]
    dead_fraction: tuple[float | None, ...]  # units that are zero on the whole batch
    correlation: tuple[float | None, ...]  # mean absolute correlation between the layer's channels
    percentiles: tuple[
        float | None, float | None, float | None
    ]  # 15, 50, 85 of one unit of the last pre-activation


@dataclass(frozen=True)
class TrialRecord:
    """One finished (or diverged, or failed) training.

    Attributes:
        key: the identity of the trial: a hash of everything that determines its numbers.
        description: what was trained, as plain values: network, variant, initialisation, lr, batch_size, depth,
            optimizer, seed, steps.
        outcome: how it ended.
        evaluations: in the order of their steps; the first one is before training.
        signals: at a few steps, the first and the last among them.
        layers: names of the hidden layers that `signals` speaks of.
        sizes: elements of each one's pre-activation for one sample, units times positions.
        train_mode_loss: the final training loss in training mode; against the last evaluation's `train_loss` it is the
            train/eval discrepancy.
        parameters: number of trained values.
        diverged_at: the step at which the loss stopped being finite, if it did.
        error: the last line of the exception, if one was raised.
        wall_seconds: everything, evaluation and set-up included.
        sparsity: share of the weights of linear and convolutional layers that are exactly zero at the end.
    """

    key: str
    description: dict[str, str | float | int]
    outcome: TrialOutcome
    evaluations: tuple[Evaluation, ...]
    signals: tuple[LayerSignals, ...]
    layers: tuple[str, ...]
    sizes: tuple[int, ...]
    train_mode_loss: float | None
    parameters: int
    diverged_at: int | None
    error: str | None
    wall_seconds: float
    sparsity: float | None = None
    schema: int = SCHEMA_VERSION
