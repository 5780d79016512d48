"""A progress bar on stderr with the time left."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Bar:
    """Shows a run's phases; without a terminal it prints one line a phase instead of a bar."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description:<20}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("tasks"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("reading the data", total=None)

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._bar.stop()

    def phase(self, name: str, done: int, expected: int) -> None:
        """A phase begins; `expected` may be a guess until the scan is read."""
        self._bar.update(self._task, description=name, completed=done, total=expected)
        if not self._console.is_terminal:
            self._console.print(f"{name}: {done} of about {expected} tasks done", highlight=False)

    def advance(self) -> None:
        """One more trial is finished."""
        self._bar.advance(self._task)
