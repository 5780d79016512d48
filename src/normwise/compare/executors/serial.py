"""One task after another in this process: for tests, debuggers and tasks that must have the machine to themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from normwise.compare.executors.task import Done, Task


def run_serial(tasks: Sequence[Task], context: Any) -> Iterator[Done]:
    """Run the tasks in order."""
    for task in tasks:
        yield Done(task, task.function(*task.arguments, context))
