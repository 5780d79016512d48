"""Whether the machine did something else meanwhile: the share of its processors that other processes took."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from pathlib import Path

_PROC = Path("/proc")
_LEAST_SECONDS = 0.2
"""The system counts in hundredths of a second: of a shorter time nothing can be said."""


class Watch:
    """Counts from its making on.

    Args:
        own: further processes that belong to the measurement.
    """

    def __init__(self, own: Collection[int] = ()) -> None:
        self._own = tuple(own)
        self._started = time.perf_counter()
        self._before = self._counts()

    def others(self) -> float | None:
        """Return the share of processor time that was not this process's; None where the system does not tell.

        >>> share = Watch().others()  # over far too short a time
        >>> share is None
        True
        """
        wall = time.perf_counter() - self._started
        after = self._counts()
        if self._before is None or after is None or wall < _LEAST_SECONDS:
            return None
        busy, own = after[0] - self._before[0], after[1] - self._before[1]
        return min(1.0, max(0.0, (busy - own) / (wall * after[2])))

    def _counts(self) -> tuple[float, float, int] | None:
        """Seconds that the processors were busy, and with processes of ours; the number of processors."""
        try:
            tick = os.sysconf("SC_CLK_TCK")
            mine = {f"cpu{number}" for number in os.sched_getaffinity(0)}
            text = (_PROC / "stat").read_text(encoding="ascii")
            lines = [line.split() for line in text.splitlines() if line.split(" ")[0] in mine]
            # user nice system idle iowait irq softirq steal; time stolen by the host is somebody else's too.
            busy = sum(sum(map(int, (*line[1:4], *line[6:9]))) for line in lines) / tick
            own = time.process_time() + sum(_seconds(process) / tick for process in self._own)
        except (OSError, ValueError, AttributeError, IndexError):
            return None
        return (busy, own, len(lines)) if lines else None


def _seconds(process: int) -> int:
    """Ticks of processor time that a process has had."""
    # The name of the program, in brackets, may hold spaces.
    fields = (_PROC / str(process) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
