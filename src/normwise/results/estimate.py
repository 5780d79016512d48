"""A number with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """A confidence interval; an end that the data cannot bound is None."""

    low: float | None
    high: float | None
    level: float = 0.95


@dataclass(frozen=True)
class Estimate:
    """An effect, its interval, and what it was computed from.

    Attributes:
        value: the effect; None where nothing could be measured.
        interval: its interval at 95 %.
        pairs: the number of paired seeds behind it.
        unit: "pp" (percentage points), "decades", "x" (a ratio), "ms", "per layer", or the unit of the target.
        bound: "" for an exact value; "at least" or "at most" where runs were censored or a grid ended, so that the
            true effect lies beyond the value.
    """

    value: float | None
    interval: Interval
    pairs: int
    unit: str
    bound: str = ""
