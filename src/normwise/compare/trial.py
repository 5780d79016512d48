"""One training, from a `Trial` to a `TrialRecord`: evaluations and signals at a few steps, outside of the clock."""

from __future__ import annotations

import math
import time
import traceback

import torch

from normwise.compare.measures import MEASURES, Measure, finite
from normwise.compare.network import count_parameters
from normwise.compare.plan import Trial
from normwise.compare.splits import FINAL_ROWS, split_for
from normwise.compare.training import Training
from normwise.data import Dataset, Part
from normwise.errors import ArgumentError
from normwise.monitor import SignalProbe, preserved
from normwise.regularizers import sparsity
from normwise.results import Evaluation, LayerSignals, TrialOutcome, TrialRecord

EVALUATIONS = 16
SIGNALS = 6
CURVE_ROWS = {"train": 256, "validation": 1024, "test": 256}
"""Evaluations on the way read at most so many rows of each part."""

SIGNAL_ROWS = 256
_CHUNK = 256
"""Rows at once: activations of many more leave the caches, and a convolution then takes four times as long."""

DIVERGED = 2.0
"""A final training loss above so many times the loss before training is a divergence, finite or not."""


def run_trial(trial: Trial, data: Dataset) -> TrialRecord:
    """Train and measure; an exception ends up in the record, not in the caller.

    The random state of the caller is left as it was.
    """
    started = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        try:
            run = Run(trial, data)
            run.train()
            return run.record(time.perf_counter() - started)
        except (Exception, SystemExit) as error:  # a trial that raises must not take the other trials with it
            return TrialRecord(
                key=trial.key,
                description=describe_trial(trial),
                outcome="raised",
                evaluations=(),
                signals=(),
                layers=(),
                sizes=(),
                train_mode_loss=None,
                parameters=0,
                diverged_at=None,
                error="".join(traceback.format_exception_only(error)).strip(),
                wall_seconds=time.perf_counter() - started,
            )


def describe_trial(trial: Trial) -> dict[str, str | float | int]:
    """What was trained, as flat plain values."""
    return {
        "setting": trial.ground.name,
        "network": trial.ground.network.kind,
        "variant": trial.variant.name,
        "initialization": trial.initialization.name,
        "lr": trial.lr,
        "batch_size": trial.ground.batch_size,
        "depth": trial.ground.depth or 0,
        "optimizer": trial.ground.optimizer,
        "steps": trial.ground.steps,
        "train_share": trial.ground.train_share,
        "seed": trial.seed,
    }


def evaluation_steps(steps: int, count: int = EVALUATIONS) -> list[int]:
    """Steps at which to evaluate: 0, then geometrically spaced to the last one, so that fast starts are resolved.

    >>> evaluation_steps(100, 6)
    [0, 2, 5, 14, 38, 100]
    """
    points = {round(2 * (steps / 2) ** (i / max(1, count - 2))) for i in range(count - 1)}
    return sorted({0, steps} | {p for p in points if 0 < p < steps})


class Run:
    """A training with everything that is measured of it.

    Args:
        trial: what to train.
        data: the data that it was planned for.
    """

    def __init__(self, trial: Trial, data: Dataset) -> None:
        self.trial = trial
        self.split = split_for(trial.ground, data, trial.seed)
        self.measure: Measure = MEASURES[trial.metric]
        self.training = Training(
            trial.ground, trial.variant, trial.initialization, self.split, lr=trial.lr, seed=trial.seed
        )
        self.model, self.loss = self.training.model, self.training.loss
        batch = _head(self.split.train, SIGNAL_ROWS)
        self.probe = SignalProbe(self.model, batch.inputs, batch.targets, self.loss)
        self.step = 0
        self.seconds = 0.0
        self.evaluations: list[Evaluation] = []
        self.signals: list[LayerSignals] = []
        self.diverged_at: int | None = None
        torch.manual_seed(trial.seed)  # dropout

    def train(self) -> None:
        """All steps, or those before the loss stops being finite."""
        ground = self.trial.ground
        stops = evaluation_steps(ground.steps)
        chosen = {round(i * (len(stops) - 1) / (SIGNALS - 1)) for i in range(SIGNALS)}
        signal_stops = {stops[i] for i in chosen}
        for stop in stops:
            if stop:
                self.train_steps(stop - self.step)
            last = self.step == ground.steps or self.diverged_at is not None
            self.evaluate(final=last)
            if stop in signal_stops or last:
                self.measure_signals()
            if last:
                break

    def train_steps(self, count: int) -> None:
        """Train so many steps, or up to the first one whose loss is not finite; only this is on the clock."""
        self.model.train()
        started = time.perf_counter()
        stop = self.step + count
        for step in range(self.step + 1, stop + 1):
            if not math.isfinite(self.training.step()):
                self.diverged_at = step
                break
        self.seconds += time.perf_counter() - started
        self.step = self.diverged_at or stop

    def evaluate(self, *, final: bool) -> None:
        """Add an evaluation of all parts."""
        self.model.eval()
        values: list[float | None] = []
        for name, rows in (FINAL_ROWS if final else CURVE_ROWS).items():
            part: Part = getattr(self.split, name)
            values += self._measured(_head(part, rows))
        self.evaluations.append(Evaluation(self.step, self.seconds, *values))

    def measure_signals(self) -> None:
        """Add the signals of every layer."""
        self.signals.append(self.probe.measure(self.step))

    def _measured(self, part: Part) -> tuple[float | None, float | None]:
        """Loss and metric of a part in the model's present mode."""
        with torch.inference_mode():
            output = torch.cat([self.model(chunk) for chunk in torch.split(part.inputs, _CHUNK)])
            loss = float(self.loss(output, part.targets))
            if not bool(torch.isfinite(output).all()):
                return finite(loss), None
            targets = part.targets
            if targets.is_floating_point():
                mean, std = self.split.target_mean, self.split.target_std
                output, targets = output.squeeze(1) * std + mean, targets * std + mean
            return finite(loss), finite(self.measure.compute(output, targets))

    def _train_mode_loss(self) -> float | None:
        with preserved(self.model, training=True), torch.inference_mode():
            # In batches as in training: the statistics of a large batch are not those that training sees.
            size = self.trial.ground.batch_size
            part = _head(self.split.train, FINAL_ROWS["train"])
            usable = len(part.targets) - len(part.targets) % size or len(part.targets)
            pairs = zip(
                torch.split(part.inputs[:usable], size), torch.split(part.targets[:usable], size), strict=True
            )
            losses = [float(self.loss(self.model(inputs), targets)) for inputs, targets in pairs]
        return finite(math.fsum(losses) / len(losses))

    def record(self, wall_seconds: float) -> TrialRecord:
        """Everything measured."""
        outcome: TrialOutcome = "finished"
        start, end = self.evaluations[0].train_loss, self.evaluations[-1].train_loss
        if self.diverged_at is not None or end is None or (start is not None and end > DIVERGED * start):
            outcome = "diverged"
        return TrialRecord(
            key=self.trial.key,
            description=describe_trial(self.trial),
            outcome=outcome,
            evaluations=tuple(self.evaluations),
            signals=tuple(self.signals),
            layers=self.probe.layers,
            sizes=self.probe.sizes,
            train_mode_loss=self._train_mode_loss() if self.diverged_at is None else None,
            parameters=count_parameters(self.model),
            diverged_at=self.diverged_at,
            error=None,
            wall_seconds=wall_seconds,
            sparsity=_sparsity(self.model),
        )


def _sparsity(model: torch.nn.Module) -> float | None:
    """None for a model without linear and convolutional layers."""
    try:
        return sparsity(model)
    except ArgumentError:
        return None


def _head(part: Part, rows: int) -> Part:
    """The first rows of a part; parts are in random order."""
    return part if len(part.targets) <= rows else Part(part.inputs[:rows], part.targets[:rows])
