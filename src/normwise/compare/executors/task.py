"""What an executor runs: a picklable function and its arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Task:
    """One unit of work: `function(*arguments, context)` gives a record.

    `context` is the executor's: the same object for all tasks, sent to each worker once (the data).
    """

    kind: str
    key: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Done:
    """A task with its record."""

    task: Task
    record: Any
