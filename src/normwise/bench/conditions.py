"""What holds while cases are timed: threads, back end, allocator."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from normwise.allocator import tune_allocator
from normwise.bench import backend
from normwise.errors import ArgumentError, explain


@dataclass(frozen=True)
class Conditions:
    """What holds.

    Attributes:
        threads: torch's.
        backend: which of normwise's implementations runs; "auto" leaves the choice to the layers.
        tuned_malloc: call `normwise.tune_allocator` before, which stays in force in the process.
    """

    threads: int
    backend: str = "auto"
    tuned_malloc: bool = False


@contextlib.contextmanager
def hold(conditions: Conditions) -> Iterator[None]:
    """Let the conditions hold in a block.

    Raises:
        ArgumentError: a number of threads below 1, or an allocator that is not glibc's.
        UnknownNameError: there is no back end of this name.
    """
    if conditions.threads < 1:
        raise ArgumentError(explain("bench", "`--threads` must be at least 1", str(conditions.threads)))
    before = torch.get_num_threads()
    with backend.using(conditions.backend):
        if conditions.tuned_malloc:
            _tune_allocator()
        torch.set_num_threads(conditions.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _tune_allocator() -> None:
    tuning = tune_allocator()
    if not tuning.applied:
        raise ArgumentError(
            explain(
                "bench", "`--tuned-malloc` must find an allocator that can be tuned", tuning.note.rstrip(".")
            )
        )
