"""Models that are no networks, on the splits of the networks: whether a network is worth it at all.

They come from scikit-learn: what needs no inputs, a linear model, gradient boosting. A fit takes about two seconds at
most, on one thread: where it would take longer, fewer rows, columns and iterations are used, and the record says so.
"""

from __future__ import annotations

import math
import statistics
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from normwise._optional import require
from normwise.compare.measures import MEASURES, finite
from normwise.compare.plan import Ground
from normwise.compare.reference_effort import Effort, boosting_effort, linear_effort
from normwise.compare.splits import split_for
from normwise.data import Dataset, Split
from normwise.data.wording import count
from normwise.results import ReferenceResult

REFERENCES: dict[str, tuple[str, ...]] = {
    "classification": ("majority class", "linear", "gradient boosting"),
    "regression": ("mean", "linear", "gradient boosting"),
}
"""Names of the models by task."""

COLUMNS = 256
"""Most columns for gradient boosting, whose time grows with them."""

_CHOOSING = 10_000_000
"""Columns are chosen by looking at about so many numbers."""

_LEAST_BOOSTING = 3
_LEAST_PROBABILITY = 1e-12
"""A class that a model thinks impossible has no logarithm."""

_Floats = npt.NDArray[Any]


@dataclass(frozen=True)
class ReferenceRecord:
    """One model on one split.

    Attributes:
        name: one of `REFERENCES`.
        seed: of the split.
        description: the estimator and its options; "" where there is none.
        value: the test metric; None where the model could not be fitted.
        seconds: the fit took; None where there was none.
        notes: what was done to keep it within time, or why there is no value.
    """

    name: str
    seed: int
    description: str
    value: float | None
    seconds: float | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Fitted:
    """Scores (N, K) of the test rows as log-probabilities, or standardised predictions (N,)."""

    output: _Floats
    description: str
    seconds: float
    notes: tuple[str, ...] = ()


class _NotFittedError(Exception):
    """There is no model, for the reason that it gives."""


def measure_reference(name: str, seed: int, metric: str, ground: Ground, data: Dataset) -> ReferenceRecord:
    """Fit a model on the training rows of a seed and score it on the test rows that the networks are scored on.

    Never raises: what goes wrong ends in the notes of the record. Random states are left as they were.

    Args:
        name: one of `REFERENCES` for the data's task.
        seed: of the split.
        metric: one of `MEASURES`.
        ground: a setting of the run, for the rows that its networks get.
        data: what to fit.
    """
    try:
        split = split_for(ground, data, seed)
        threads = require("threadpoolctl", extra="compare", who="the reference models")
        with threads.threadpool_limits(1):
            fitted = _MODELS[name](split)
        value = finite(MEASURES[metric].compute(*_judged(fitted.output, split)))
        return ReferenceRecord(name, seed, fitted.description, value, fitted.seconds, fitted.notes)
    except _NotFittedError as reason:
        return ReferenceRecord(name, seed, "", None, None, (str(reason),))
    except Exception as error:  # a reference is no reason to lose the run
        lines = "".join(traceback.format_exception_only(error)).split()
        return ReferenceRecord(name, seed, "", None, None, (f"failed: {' '.join(lines)}",))


def summarize_references(records: Iterable[ReferenceRecord]) -> tuple[ReferenceResult, ...]:
    """The records by model, in the order of `REFERENCES`; a note that not all splits share says how many do."""
    known = list(records)
    names = dict.fromkeys(name for group in zip(*REFERENCES.values(), strict=True) for name in group)
    of = {name: sorted((r for r in known if r.name == name), key=lambda r: r.seed) for name in names}
    return tuple(_summary(name, group) for name, group in of.items() if group)


def _summary(name: str, records: list[ReferenceRecord]) -> ReferenceResult:
    values = [record.value for record in records if record.value is not None]
    seconds = [record.seconds for record in records if record.seconds is not None]
    descriptions = Counter(record.description for record in records if record.description)
    notes = Counter(note for record in records for note in record.notes)
    total = len(records)
    said = [
        note if n == total else f"{note} (on {n} of {count(total, 'split')})" for note, n in notes.items()
    ]
    return ReferenceResult(
        name=name,
        description=descriptions.most_common(1)[0][0] if descriptions else "",
        seeds=tuple(record.seed for record in records),
        values=tuple(record.value for record in records),
        median=statistics.median(values) if values else None,
        seconds=statistics.median(seconds) if seconds else None,
        note="; ".join(said),
    )


def estimate_seconds(name: str, rows: int, features: int, classes: int) -> float:
    """About how long a fit takes on one core, for the plan of a run.

    Args:
        name: one of `REFERENCES`.
        rows: in the training part.
        features: numbers in one input.
        classes: 0 for regression.

    >>> 0.05 < estimate_seconds("gradient boosting", 341, 30, 2) < 0.5
    True
    """
    if name == "linear":
        return linear_effort(rows, features, classes).seconds
    if name == "gradient boosting":
        return boosting_effort(rows, min(features, COLUMNS), classes).seconds
    return 1e-3


def _judged(output: _Floats, split: Split) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs and targets as metrics take them."""
    found, targets = torch.from_numpy(output), split.test.targets
    if not targets.is_floating_point():
        return found, targets
    mean, std = split.target_mean, split.target_std
    return found * std + mean, targets.double() * std + mean


def _classes(split: Split) -> int:
    return 0 if split.train.targets.is_floating_point() else split.out_features


def _baseline(split: Split) -> _Fitted:
    """The shares of the classes in training, or the mean: 0, the target is standardised."""
    started = time.perf_counter()
    rows = len(split.test.targets)
    if not _classes(split):
        mean = float(split.train.targets.double().mean())
        return _Fitted(np.full(rows, mean), "the training mean", time.perf_counter() - started)
    counts = torch.bincount(split.train.targets, minlength=split.out_features).double().numpy()
    output = np.tile(_logs(counts / counts.sum()), (rows, 1))
    return _Fitted(output, "the shares of the classes in training", time.perf_counter() - started)


def _linear(split: Split) -> _Fitted:
    linear = require("sklearn.linear_model", extra="compare", who="the reference models")
    classes = _classes(split)
    inputs, test = (part.inputs.flatten(1).numpy() for part in (split.train, split.test))
    effort = linear_effort(len(inputs), inputs.shape[1], classes)
    if classes:
        model = linear.LogisticRegression(max_iter=effort.iterations)
        description = "LogisticRegression(C=1) on standardised inputs"
    else:
        model = linear.Ridge()
        inputs, test = (
            inputs.astype(np.float64),
            test.astype(np.float64),
        )  # its normal equations square the condition
        description = "Ridge(alpha=1) on standardised inputs"
    fitted = _fit(model, inputs, test, split, effort, description)
    if classes and max(model.n_iter_) >= effort.iterations:
        stopped = f"not converged after {effort.iterations} iterations"
        return replace(fitted, notes=(*fitted.notes, stopped))
    return fitted


def _boosting(split: Split) -> _Fitted:
    ensemble = require("sklearn.ensemble", extra="compare", who="the reference models")
    classes = _classes(split)
    inputs, test, note = _narrowed(split)
    effort = boosting_effort(len(inputs), inputs.shape[1], classes)
    if effort.iterations < _LEAST_BOOSTING:
        raise _NotFittedError(f"left out: it grows a tree for each of {classes:,} classes in every iteration")
    kind = ensemble.HistGradientBoostingClassifier if classes else ensemble.HistGradientBoostingRegressor
    rate = min(0.3, 10 / effort.iterations)
    model = kind(
        max_iter=effort.iterations,
        learning_rate=rate,
        max_bins=effort.bins,
        early_stopping=False,
        random_state=0,
    )
    description = f"{kind.__name__}(max_iter={effort.iterations}, learning_rate={rate:.2g})"
    fitted = _fit(model, inputs, test, split, effort, description)
    return replace(fitted, notes=(*fitted.notes, *note))


_MODELS: dict[str, Callable[[Split], _Fitted]] = {
    "majority class": _baseline,
    "mean": _baseline,
    "linear": _linear,
    "gradient boosting": _boosting,
}


def _fit(
    model: Any, inputs: _Floats, test: _Floats, split: Split, effort: Effort, description: str
) -> _Fitted:
    """Fit on the first rows, which are in random order, and score the test rows."""
    exceptions = require("sklearn.exceptions", extra="compare", who="the reference models")
    rows = len(inputs)
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
        model.fit(inputs[: effort.rows], split.train.targets.numpy()[: effort.rows])
    seconds = time.perf_counter() - started
    notes = (f"fitted on {effort.rows:,} of {rows:,} training rows",) if effort.rows < rows else ()
    if not _classes(split):
        return _Fitted(model.predict(test).astype(np.float64), description, seconds, notes)
    # A class without a training row has no column.
    probabilities = np.zeros((len(test), split.out_features))
    probabilities[:, model.classes_] = model.predict_proba(test)
    return _Fitted(_logs(probabilities), description, seconds, notes)


def _logs(probabilities: _Floats) -> _Floats:
    logs: _Floats = np.log(np.maximum(probabilities, _LEAST_PROBABILITY))
    return logs


def _narrowed(split: Split) -> tuple[_Floats, _Floats, tuple[str, ...]]:
    """Training and test inputs with at most `COLUMNS` columns, and what was done for that.

    Images are averaged down: on mnist5k that gives better trees than as many of the best pixels.
    """
    inputs, test = split.train.inputs, split.test.inputs
    if math.prod(split.in_shape) <= COLUMNS:
        return inputs.flatten(1).numpy(), test.flatten(1).numpy(), ()
    if len(split.in_shape) == 3:
        channels, height, width = split.in_shape
        size = 2
        while channels * math.ceil(height / size) * math.ceil(width / size) > COLUMNS:
            size += 1
        pool = torch.nn.AvgPool2d(min(size, height, width), ceil_mode=True, count_include_pad=False)
        small, small_test = pool(inputs), pool(test)
        note = f"on images averaged down to {small.shape[2]}×{small.shape[3]} pixels"
        return small.flatten(1).numpy(), small_test.flatten(1).numpy(), (note,)
    selection = require("sklearn.feature_selection", extra="compare", who="the reference models")
    score = selection.f_classif if _classes(split) else selection.f_regression
    rows = min(len(inputs), max(COLUMNS, _CHOOSING // inputs.shape[1]))
    with np.errstate(divide="ignore", invalid="ignore"):  # a column that is constant within every class
        values, _ = score(inputs[:rows].numpy().astype(np.float64), split.train.targets[:rows].numpy())
    best = np.sort(np.argsort(-np.nan_to_num(values), kind="stable")[:COLUMNS])
    note = f"on the {COLUMNS} of {inputs.shape[1]:,} columns that the target differs by most, each on its own"
    return inputs.numpy()[:, best], test.numpy()[:, best], (note,)
