"""Bursts of calls in turn, so that whatever the machine does meanwhile falls on all sides alike.

A burst's figure is the mean of its calls; a side's is the median of its bursts; a ratio is taken burst by burst.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from normwise.results import Spread

LEAST_SECONDS = 0.02
"""A burst lasts this long at least, which the clock and the scheduler resolve."""

MOST_CALLS = 20_000
WARM_UP = 3

Name = TypeVar("Name", bound=str)


class Timed(Protocol):
    """A side that can be called a number of times."""

    def burst(self, calls: int) -> float:
        """Return the mean seconds of so many calls."""
        ...


class Here:
    """A side in this process."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call

    def burst(self, calls: int) -> float:
        """Return the mean seconds of so many calls, no garbage collected among them."""
        call = self._call
        enabled = gc.isenabled()
        gc.disable()
        try:
            started = time.perf_counter()
            for _ in range(calls):
                call()
            return (time.perf_counter() - started) / calls
        finally:
            if enabled:
                gc.enable()


def calibrate(side: Timed, least_seconds: float = LEAST_SECONDS) -> int:
    """Warm a side up, and return how many calls make a burst of `least_seconds`: one where a call lasts longer."""
    side.burst(WARM_UP)
    seconds = side.burst(1)
    if seconds < least_seconds / 10:  # one short call says little
        seconds = side.burst(max(1, min(MOST_CALLS, int(least_seconds / 10 / max(seconds, 1e-7)))))
    return max(1, min(MOST_CALLS, math.ceil(least_seconds / max(seconds, 1e-7))))


def alternate(
    sides: Mapping[Name, Timed], rounds: int, least_seconds: float = LEAST_SECONDS
) -> dict[Name, list[float]]:
    """Return the mean seconds of a call in every burst of every side.

    The sides take turns; who begins moves on from round to round.
    """
    calls = {name: calibrate(side, least_seconds) for name, side in sides.items()}
    names = list(sides)
    times: dict[Name, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        gc.collect()
        first = turn % len(names)
        for name in (*names[first:], *names[:first]):
            times[name].append(sides[name].burst(calls[name]))
    return times


def spread(values: Sequence[float]) -> Spread:
    """Return the median and the quartiles.

    >>> spread([1.0, 2.0, 3.0, 4.0, 5.0])
    Spread(low=2.0, median=3.0, high=4.0)
    """
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(low, middle, high)
