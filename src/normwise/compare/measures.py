"""Metrics: computed from outputs, and read off a record."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

from normwise.errors import unknown_name
from normwise.results import Evaluation, TrialRecord

PartName = Literal["train", "validation", "test"]


def _accuracy(output: Tensor, target: Tensor) -> float:
    return 100 * float((output.argmax(dim=1) == target).float().mean())


def _counts(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Per class: hits, rows of that class, rows taken for that class."""
    classes = output.shape[1]
    predicted = output.argmax(dim=1)
    hits = torch.bincount(target[predicted == target], minlength=classes).double()
    return (
        hits,
        torch.bincount(target, minlength=classes).double(),
        torch.bincount(predicted, minlength=classes).double(),
    )


def _balanced_accuracy(output: Tensor, target: Tensor) -> float:
    hits, rows, _ = _counts(output, target)
    present = rows > 0
    return 100 * float((hits[present] / rows[present]).mean())


def _macro_f1(output: Tensor, target: Tensor) -> float:
    hits, rows, taken = _counts(output, target)
    present = (rows + taken) > 0
    return 100 * float((2 * hits[present] / (rows[present] + taken[present])).mean())


def _auc(output: Tensor, target: Tensor) -> float:
    """Area under the ROC curve; of several classes the mean over those present, each against the rest."""
    classes = output.shape[1]
    logs = F.log_softmax(output.double(), dim=1)
    asked = [1] if classes == 2 else range(classes)
    areas = [_area(logs[:, k], target == k) for k in asked]
    known = [area for area in areas if area is not None]
    return sum(known) / len(known) if known else math.nan


def _area(score: Tensor, positive: Tensor) -> float | None:
    """P(score of a positive > score of a negative), ties counted half (Mann and Whitney); None without both."""
    hits = int(positive.sum())
    misses = len(positive) - hits
    if not hits or not misses:
        return None
    _, inverse, counts = torch.unique(score, return_inverse=True, return_counts=True)
    upper = counts.cumsum(0).double()
    ranks = (upper - (counts - 1) / 2)[inverse]  # the mean rank of equals
    return float((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * misses))


def _log_loss(output: Tensor, target: Tensor) -> float:
    return float(F.cross_entropy(output, target))


def _rmse(output: Tensor, target: Tensor) -> float:
    return float((output - target).square().mean().sqrt())


def _mae(output: Tensor, target: Tensor) -> float:
    return float((output - target).abs().mean())


def _r2(output: Tensor, target: Tensor) -> float:
    return float(1 - (output - target).square().sum() / (target - target.mean()).square().sum())


@dataclass(frozen=True)
class Measure:
    """A metric and how to read it.

    Attributes:
        compute: (outputs, targets) → value; for regression both in the target's own units.
        unit: "%", "" or "target" (the unit of the target).
        sign: +1 where higher is better, −1 where lower is.
        margin: differences within ± margin count as none; None takes 1 % of the baseline's error.
    """

    name: str
    task: Literal["classification", "regression"]
    compute: Callable[[Tensor, Tensor], float]
    unit: str
    sign: int
    margin: float | None = None

    @property
    def difference_unit(self) -> str:
        """The unit of a difference of two values."""
        return "pp" if self.unit == "%" else self.unit

    def value(self, evaluation: Evaluation, part: PartName) -> float | None:
        """The metric of one part in an evaluation."""
        number: float | None = getattr(evaluation, f"{part}_metric")
        return number

    def final(self, record: TrialRecord | None, part: PartName) -> float | None:
        """The metric after training; None where the trial diverged, failed or is missing."""
        if record is None or record.outcome != "finished":
            return None
        return self.value(record.evaluations[-1], part)

    def settled(self, record: TrialRecord, part: PartName) -> float | None:
        """The metric after training; a diverged trial counts as the network before training. None if it failed."""
        if record.outcome == "raised" or not record.evaluations:
            return None
        if record.outcome == "diverged":
            return self.value(record.evaluations[0], part)
        return self.value(record.evaluations[-1], part)

    def steps_to(self, record: TrialRecord, target: float) -> float | None:
        """Steps until validation first reaches the target, linear between evaluations; None if it never does."""
        return self._crossing(record, target, lambda e: float(e.step))

    def seconds_to(self, record: TrialRecord, target: float) -> float | None:
        """Training seconds until validation first reaches the target; None if it never does."""
        return self._crossing(record, target, lambda e: e.seconds)

    def _crossing(
        self, record: TrialRecord, target: float, clock: Callable[[Evaluation], float]
    ) -> float | None:
        before: Evaluation | None = None
        goal = self.sign * target
        for evaluation in record.evaluations:
            value = self.value(evaluation, "validation")
            if value is not None and self.sign * value >= goal:
                last = None if before is None else self.value(before, "validation")
                if (
                    before is None
                ):  # reached without training: the first trained evaluation is the least one can say
                    return clock(record.evaluations[min(1, len(record.evaluations) - 1)])
                if last is None:
                    return clock(evaluation)
                share = (goal - self.sign * last) / (self.sign * value - self.sign * last)
                return clock(before) + share * (clock(evaluation) - clock(before))
            before = evaluation
        return None


MEASURES = {
    measure.name: measure
    for measure in (
        Measure("accuracy", "classification", _accuracy, "%", 1, 0.5),
        Measure("balanced_accuracy", "classification", _balanced_accuracy, "%", 1, 0.5),
        Measure("macro_f1", "classification", _macro_f1, "%", 1, 0.5),
        Measure("auc", "classification", _auc, "", 1, 0.005),
        Measure("log_loss", "classification", _log_loss, "nats", -1),
        Measure("rmse", "regression", _rmse, "target", -1),
        Measure("mae", "regression", _mae, "target", -1),
        Measure("r2", "regression", _r2, "", 1, 0.01),
    )
}


RARE = 0.4
"""A class is rare below so much of an even share: with two classes under 20 % of the rows."""


def find_measure(name: str | None, task: str, class_counts: Sequence[int] = ()) -> tuple[Measure, str]:
    """The metric of that name, or the task's own, and why it was chosen.

    Accuracy for classes, but AUC for two and macro-F1 for more where one is rare: there, whoever always says the
    frequent class has a fine accuracy. The root mean squared error for numbers.

    Raises:
        UnknownNameError: there is no such metric for the task.

    >>> measure, why = find_measure(None, "classification", (950, 50))
    >>> measure.name, why
    ('auc', 'because the rarest class has 5 % of the rows')
    """
    known = {n: m for n, m in MEASURES.items() if m.task == task}
    if name is not None:
        if name not in known:
            raise unknown_name("compare", f"metric for {task}", name, known)
        return known[name], ""
    if task == "regression":
        return known["rmse"], ""
    total = sum(class_counts)
    if total and min(class_counts) * len(class_counts) < RARE * total:
        chosen = "auc" if len(class_counts) == 2 else "macro_f1"
        return known[
            chosen
        ], f"because the rarest class has {100 * min(class_counts) / total:.2g} % of the rows"
    return known["accuracy"], ""


def finite(value: float) -> float | None:
    """The value, or None where it is not finite."""
    return value if math.isfinite(value) else None
