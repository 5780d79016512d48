"""Run a question with a progress bar, then show and keep the answer."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import typer
from rich.console import Console

from normwise.cli.page import write_page
from normwise.cli.progress import Bar
from normwise.compare.run import run
from normwise.compare.spec import Spec
from normwise.report import to_json, to_terminal
from normwise.results import Comparison


def answer(question: Spec, *, out: Path | None, workers: int | None, as_json: bool) -> None:
    """Train, report, and leave with the exit code that fits.

    Raises:
        typer.Exit: 1 if a trial raised, 130 if interrupted.
    """
    log = Console(stderr=True)
    try:
        with Bar(log) as bar:
            comparison = run(
                question,
                out=out,
                workers=workers,
                progress=bar,
                command=shlex.join(["normwise", *sys.argv[1:]]),
            )
    except KeyboardInterrupt:
        log.print("Interrupted. Finished trials are kept: the same command goes on from there.")
        raise typer.Exit(130) from None
    directory = Path(comparison.reproduction.directory)
    page = write_page(comparison, directory / "report.html")
    write_page(comparison, directory / "report.json")
    if as_json:
        print(to_json(comparison))
    else:
        to_terminal(comparison, Console())
    log.print(f"Report: {page}", soft_wrap=True, highlight=False)
    _leave(comparison, log)


def _leave(comparison: Comparison, log: Console) -> None:
    """Exit 1 where a trial raised, or no trial of a variant finished; a diverged trial is data."""
    raised = [row for row in comparison.trials if row["outcome"] == "raised"]
    asked = {(row["setting"], row["variant"]) for row in comparison.trials}
    finished = {(row["setting"], row["variant"]) for row in comparison.trials if row["outcome"] == "finished"}
    if raised:
        log.print(f"{len(raised)} of {len(comparison.trials)} trials raised; the first: {raised[0]['error']}")
    for setting, variant in sorted(asked - finished, key=str):
        log.print(
            f"No trial of {variant!r} finished ({setting}): every learning rate of its grid diverged or failed."
        )
    if raised or asked - finished:
        raise typer.Exit(1)
