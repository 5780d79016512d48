"""The program as a person calls it, in this process and in an empty working directory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import normwise.compare.cost
import normwise.compare.run
import normwise.compare.summary
import normwise.compare.tasks
from normwise.cli import main
from normwise.compare.executors import Done, Task


@dataclass(frozen=True)
class Answer:
    """What the program left behind."""

    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """Standard error as one line, however wide the terminal was."""
        return " ".join(self.err.split())


class _Here:
    def __init__(self, workers: int, context: Any) -> None:
        self.context = context

    def __enter__(self) -> _Here:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, tasks: Sequence[Task]) -> Iterator[Done]:
        return (Done(task, task.function(*task.arguments, self.context)) for task in tasks)


@pytest.fixture
def cli(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Call the program; trials run in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(normwise.compare.run, "Processes", _Here)
    monkeypatch.setattr(normwise.compare.tasks, "SEEDS", 1)  # of the probe
    monkeypatch.setattr(normwise.compare.summary, "SEEDS", 1)
    monkeypatch.setattr(normwise.compare.cost, "ROUNDS", 3)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")

    def call(*arguments: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["normwise", *arguments])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0
        out, err = capsys.readouterr()
        return Answer(code, out, err)

    return call
