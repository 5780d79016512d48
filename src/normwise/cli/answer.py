"""Show the plan, carry it out with a progress bar, then show and keep the answer."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console

from normwise.cli.page import write_page
from normwise.cli.plan import print_plan
from normwise.cli.progress import Bar
from normwise.compare.planned import Planned, plan
from normwise.compare.run import InterruptedRunError, carry_out
from normwise.compare.spec import Spec
from normwise.compare.summary import plan_summary
from normwise.models.user_guard import stdout_to_stderr
from normwise.report import to_json, to_terminal
from normwise.results import Comparison, dumps


@dataclass(frozen=True)
class Asked:
    """A question with how it is to be run; `config` is the file that defaults came from."""

    question: Spec
    out: Path | None
    workers: int | None
    budget: float | None
    strict_budget: bool
    resolved: Spec | None
    config: Path | None


def answer(asked: Asked, *, dry_run: bool, as_json: bool) -> None:
    """Plan, train, report, and leave with the exit code that fits.

    Raises:
        typer.Exit: 1 if a trial raised, 130 if interrupted.
    """
    log = Console(stderr=True)
    try:
        # Standard output is the answer's, whatever a user's model prints when it is built and tried.
        words = "reading the data and timing a step of each variant"
        with stdout_to_stderr(), log.status(words) as status:
            planned = plan(
                asked.question,
                out=asked.out,
                workers=asked.workers,
                budget=asked.budget,
                strict_budget=asked.strict_budget,
                resolved=asked.resolved,
                reading=lambda done, total: status.update(f"decoding images: {done:,} of {total:,}"),
            )
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    summary = plan_summary(planned)
    if dry_run:
        if as_json:
            print(dumps(summary, indent=1))
        else:
            print_plan(summary, Console(), config=asked.config)
        return
    print_plan(summary, log, config=asked.config)
    comparison = _carried_out(planned, log, as_json=as_json)
    _show(comparison, log, as_json=as_json)
    _leave(comparison, log)


def _carried_out(planned: Planned, log: Console, *, as_json: bool) -> Comparison:
    try:
        with Bar(log) as bar:
            return carry_out(planned, progress=bar, command=shlex.join(["normwise", *sys.argv[1:]]))
    except InterruptedRunError as interrupted:
        if interrupted.comparison is None:
            log.print(
                "Interrupted before there was anything to report. Finished trials are kept: the same command goes on "
                "from there."
            )
        else:
            _show(interrupted.comparison, log, as_json=as_json)
            log.print("Interrupted: the report is marked partial. The same command goes on from there.")
        raise typer.Exit(130) from None
    except KeyboardInterrupt:
        log.print("Interrupted. Finished trials are kept: the same command goes on from there.")
        raise typer.Exit(130) from None


def _show(comparison: Comparison, log: Console, *, as_json: bool) -> None:
    directory = Path(comparison.reproduction.directory)
    page = write_page(comparison, directory / "report.html")
    write_page(comparison, directory / "report.json")
    if as_json:
        print(to_json(comparison))
    else:
        to_terminal(comparison, Console(), claims=False)
    log.print(f"Report: {page}", soft_wrap=True, highlight=False)


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
