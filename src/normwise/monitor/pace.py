"""How often a monitor looks: as rarely as its measured cost asks for."""

from __future__ import annotations

import statistics
import time
from collections import deque

_REMEMBERED = 15  # steps whose median says how long one takes: a validation in between does not count


class Pace:
    """Says which steps are watched.

    The first step is. After a check that took c seconds the next one is due n steps later, n the smallest number with
    n ≥ every and n · overhead · (median seconds of a step) ≥ c: each check is paid for by the steps that follow it.

    Args:
        overhead: the share of a step's time that checks may take on average.
        every: steps from one check to the next, at least.
    """

    def __init__(self, overhead: float, every: int) -> None:
        self._overhead, self._every = overhead, every
        self._durations: deque[float] = deque(maxlen=_REMEMBERED)
        self._since = 0
        self._cost = 0.0
        self._latest: float | None = None

    def unwatched(self) -> None:
        """A step ended that nobody looked at."""
        now = time.perf_counter()
        if self._latest is not None:
            self._durations.append(now - self._latest)
        self._latest = now
        self._since += 1

    def watched(self, cost: float) -> None:
        """A step ended that was watched, at a cost in seconds."""
        self._latest = time.perf_counter()
        self._since, self._cost = 1, cost

    def due(self) -> bool:
        """Whether the coming step is to be watched."""
        if self._since < self._every:
            return False
        if self._overhead == float("inf"):
            return True
        return bool(self._durations) and self._paid() >= self._cost

    def _paid(self) -> float:
        return self._since * self._overhead * statistics.median(self._durations)
