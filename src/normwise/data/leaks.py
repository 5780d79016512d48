"""Input columns that give the target away, each tried alone."""

from __future__ import annotations

import shlex
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from normwise._optional import require
from normwise.data.contents import TableContents
from normwise.data.task import Target
from normwise.data.wording import count

PERFECT = 0.995
"""Score on held-out rows from which a column alone is suspicious: AUC, accuracy or R²."""

MOST_ROWS = 3000
FEWEST_ROWS = 50
LARGEST_MAJORITY = 0.97
"""Where a class has a larger share of the rows, accuracy says nothing (AUC still does)."""

FEWEST_POSITIVES = 10

_FIRST_LOOK = 0.97
_FOLDS = 3
_MOST_NAMED = 3

_Floats = npt.NDArray[np.float64]


def giveaways(table: TableContents, target: Target, rows: npt.NDArray[np.int64]) -> tuple[str, ...]:
    """Warn of columns that predict the target (nearly) perfectly on rows that they were not fitted to.

    A shallow tree on a column of numbers, a look-up table on a column of words; the score is AUC for two
    classes, accuracy for more, R² for numbers. Half of the rows decide whether a column is worth three folds.

    Args:
        table: the inputs.
        target: what is predicted.
        rows: rows to take, without duplicates: a copy on both sides would let anything look perfect.
    """
    generator = np.random.default_rng(0)
    sample = generator.permutation(rows)[:MOST_ROWS]
    values = target.values[sample]
    if len(sample) < FEWEST_ROWS or not _tellable(target, values):
        return ()
    score = _Score(target.task == "classification", len(target.classes))
    numeric = table.numeric[sample]
    found: list[tuple[float, str]] = []
    with warnings.catch_warnings():
        # Of many small classes, and of classes that a half or a fold happens to lack.
        warnings.simplefilter("ignore")
        for index, name in enumerate(table.names):
            found += _suspect(score, name, _filled(numeric[:, index]), values, False)
        for column in table.categorical:
            found += _suspect(score, column.name, column.codes[sample].astype(np.float64), values, True)
    found.sort(key=lambda item: -item[0])
    if not found:
        return ()
    if len(found) > _MOST_NAMED:
        names = ", ".join(repr(name) for _, name in found[:_MOST_NAMED])
        others = count(len(found) - _MOST_NAMED, "other column")
        said = f"{names} and {others} each alone predict the target (nearly) perfectly on rows held out"
        return (f"{said}: unless they are known before the target is, leave them out with --drop",)
    return tuple(
        f"{name!r} alone predicts the target (nearly) perfectly, {score.name} {_shown(value)} on rows held out: "
        f"unless it is known before the target is, leave it out with --drop {shlex.quote(name)}"
        for value, name in found
    )


def _suspect(
    score: _Score, name: str, column: _Floats, values: npt.NDArray[np.generic], words: bool
) -> list[tuple[float, str]]:
    half = len(values) // 2
    if score(column, values, np.arange(len(values)) < half, words) < _FIRST_LOOK:
        return []
    folds = np.arange(len(values)) % _FOLDS
    value = float(np.mean([score(column, values, folds != fold, words) for fold in range(_FOLDS)]))
    return [(value, name)] if value >= PERFECT else []


class _Score:
    """Scores one column alone on the rows that it was not fitted to."""

    def __init__(self, classes: bool, number: int) -> None:
        self.classes, self.number = classes, number
        self.name = "R²" if not classes else "AUC" if number == 2 else "accuracy"
        tree = require(
            "sklearn.tree", extra="compare", who="the search for columns that give the target away"
        )
        kind = tree.DecisionTreeClassifier if classes else tree.DecisionTreeRegressor
        self._tree: Any = kind(max_depth=7, min_samples_leaf=3, random_state=0)

    def __call__(
        self, column: _Floats, values: npt.NDArray[np.generic], train: npt.NDArray[np.bool_], words: bool
    ) -> float:
        predicted = (
            self._from_words(column, values, train) if words else self._from_numbers(column, values, train)
        )
        if not self.classes:
            true = values[~train].astype(np.float64)
            spread = float(np.sum((true - true.mean()) ** 2))
            return 1 - float(np.sum((true - predicted) ** 2)) / spread if spread > 0 else 0.0
        if self.number == 2:
            return _auc(predicted[:, 1], values[~train] == 1)
        return float(np.mean(predicted.argmax(axis=1) == values[~train]))

    def _from_numbers(self, column: _Floats, values: Any, train: npt.NDArray[np.bool_]) -> _Floats:
        inputs = column.astype(np.float32)[:, None]
        self._tree.fit(inputs[train], values[train], check_input=False)
        if not self.classes:
            predicted: _Floats = self._tree.predict(inputs[~train], check_input=False)
            return predicted
        shares = np.zeros((int((~train).sum()), self.number))
        shares[:, self._tree.classes_] = self._tree.predict_proba(inputs[~train], check_input=False)
        return shares

    def _from_words(self, column: _Floats, values: Any, train: npt.NDArray[np.bool_]) -> _Floats:
        codes = column.astype(np.int64) + 1
        wide = np.eye(self.number)[values] if self.classes else values[:, None]
        # One row of prior, so that a word seen once is no certainty.
        prior = wide[train].mean(axis=0)
        sums = np.zeros((int(codes.max()) + 1, wide.shape[1])) + prior
        np.add.at(sums, codes[train], wide[train])
        means = sums / (1 + np.bincount(codes[train], minlength=len(sums)))[:, None]
        predicted: _Floats = means[codes[~train]]
        return predicted if self.classes else predicted[:, 0]


def _auc(scores: _Floats, positive: npt.NDArray[np.bool_]) -> float:
    if positive.all() or not positive.any():
        return 0.0
    metrics = require(
        "sklearn.metrics", extra="compare", who="the search for columns that give the target away"
    )
    return float(metrics.roc_auc_score(positive, scores))


def _tellable(target: Target, values: npt.NDArray[np.generic]) -> bool:
    """Whether a perfect score on so few rows of these would say anything."""
    if target.task == "regression":
        return bool(np.ptp(values) > 0)
    counts = np.bincount(values.astype(np.int64), minlength=len(target.classes))
    if len(counts) == 2:
        return bool(counts.min() >= FEWEST_POSITIVES)
    return bool(counts.max() <= LARGEST_MAJORITY * counts.sum())


def _filled(column: _Floats) -> _Floats:
    """Missing numbers as one below the least: which values are missing may give the target away too."""
    gaps = np.isnan(column)
    if not gaps.any():
        return column
    least = float(np.nanmin(column)) if not gaps.all() else 0.0
    return np.where(gaps, least - 1 - 1e-3 * abs(least), column)


def _shown(value: float) -> str:
    return "1" if value >= 0.9995 else f"{value:.3f}"
