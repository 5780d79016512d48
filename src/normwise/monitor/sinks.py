"""Where records go: any callable that takes one; a path stands for a file of JSON lines."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from normwise.errors import ArgumentError, explain
from normwise.monitor.records import Record, StepRecord
from normwise.monitor.refuse import WHO

Sink = Callable[[Record], object]


class JsonLines:
    """Appends records to a file, a line each, written as a whole: a reader never sees half of one.

    A record is an object whose "record" is "step" or "modes", beside its fields.

    Args:
        path: of the file; its folder must be there.

    Raises:
        ArgumentError: the file cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        try:
            self._path.open("ab").close()
        except OSError as error:
            must = "a path in `sinks` must be a file that can be written"
            raise ArgumentError(
                explain(WHO, must, f"{str(path)!r} ({error.strerror})", "make its folder")
            ) from error

    def __call__(self, record: Record) -> None:
        """Append a record."""
        kind = "step" if isinstance(record, StepRecord) else "modes"
        line = json.dumps({"record": kind, **asdict(record)}, allow_nan=False) + "\n"
        with self._path.open("ab", buffering=0) as file:
            file.write(line.encode())


def sinks_of(given: Iterable[Sink | str | os.PathLike[str]]) -> tuple[Sink, ...]:
    """Sinks out of callables and paths.

    Raises:
        ArgumentError: neither of them, or a file that cannot be written.
    """
    if isinstance(given, str | os.PathLike) or callable(given):
        given = (given,)
    return tuple(_sink(each) for each in given)


def _sink(given: Any) -> Sink:
    if isinstance(given, str | os.PathLike):
        return JsonLines(given)
    if not callable(given):
        must = "`sinks` must be paths or callables that take a record"
        hint = "for a SummaryWriter, use normwise.integrations.TensorBoard(writer)"
        raise ArgumentError(explain(WHO, must, f"a value of type {type(given).__name__}", hint))
    sink: Sink = given
    return sink
