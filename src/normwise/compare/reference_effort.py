"""What fits into two seconds: rows and iterations of the models that are no networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

SECONDS = 2.0
"""What a fit may take."""

ROWS = 20_000
"""Most training rows."""

_FEWEST_ROWS = 1000
_MOST_LINEAR, _ENOUGH_LINEAR, _LEAST_LINEAR = 300, 100, 10
_MOST_BOOSTING, _ENOUGH_BOOSTING = 100, 20
"""Most iterations, those for which rows are given up, and those that a linear model gets in any case."""


@dataclass(frozen=True)
class Effort:
    """How much is fitted.

    Attributes:
        rows: of the training part.
        iterations: at most.
        bins: that boosting sorts a feature's values into.
        seconds: that it takes, about.
    """

    rows: int
    iterations: int
    bins: int
    seconds: float


def linear_effort(rows: int, features: int, classes: int) -> Effort:
    """Constants in seconds were measured on one core at 3 GHz, with 1,000 to 20,000 rows and 20 to 12,000 features."""

    def at(rows: int) -> Effort:
        if not classes:
            ridge = 4e-11 * rows * features * min(rows, features) + 2e-8 * rows * features
            return Effort(rows, _ENOUGH_LINEAR, 0, ridge if ridge > 1e-3 else 1e-3)
        outputs = 1 if classes == 2 else classes
        step = 5e-5 + rows * (features * (4e-10 + 2.2e-10 * outputs) + 2e-8 * outputs)
        fixed = 1e-8 * rows * features
        iterations = max(_LEAST_LINEAR, min(_MOST_LINEAR, int((SECONDS - fixed) / step)))
        # Most problems converge within a hundred iterations.
        return Effort(rows, iterations, 0, fixed + step * min(iterations, 100))

    return _fewer_rows(at, min(rows, ROWS), _ENOUGH_LINEAR)


def boosting_effort(rows: int, features: int, classes: int) -> Effort:
    """Constants in seconds were measured as those of `linear_effort`: trees of 31 leaves, 10 to 250 features."""
    trees = max(1, classes) if classes != 2 else 1

    def tree(rows: int, bins: int) -> float:
        return 1.2e-3 * min(1, rows / 1500) + features * (2.4e-7 * bins * min(1, rows / 1500) + 4.5e-9 * rows)

    def at(rows: int) -> Effort:
        fixed = 0.01 + 1.7e-7 * rows * features
        bins, iterations = 255, _MOST_BOOSTING
        if fixed + iterations * trees * tree(rows, bins) > SECONDS:
            bins = 32  # trees on so few bins are a third cheaper and as good
            iterations = min(iterations, int(max(0.0, SECONDS - fixed) / (trees * tree(rows, bins))))
        return Effort(rows, iterations, bins, fixed + iterations * trees * tree(rows, bins))

    return _fewer_rows(at, min(rows, ROWS), _ENOUGH_BOOSTING)


def _fewer_rows(at: Callable[[int], Effort], rows: int, enough: int) -> Effort:
    """Half the rows, and again, until a worthwhile number of iterations fits."""
    effort = at(rows)
    while rows >= 2 * _FEWEST_ROWS and (effort.iterations < enough or effort.seconds > SECONDS):
        rows //= 2
        effort = at(rows)
    return effort
