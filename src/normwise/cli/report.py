"""`normwise report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(help="The directory of a finished run.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Where to write: .html or .json; by default report.html in the run."
        ),
    ] = None,
) -> None:
    """Write the report of a finished run again."""
    from rich.console import Console

    from normwise.cli.page import write_page
    from normwise.errors import StoreError, explain
    from normwise.results import Comparison, loads

    path = run / "comparison.json"
    if not (run / "run.json").is_file():
        got = f"{run}, which is not there" if not run.exists() else f"{run}, which holds no run.json"
        raise StoreError(explain("report", "`RUN` must be the directory of a run", got, "look in runs/"))
    if not path.is_file():
        raise StoreError(
            explain(
                "report",
                "a run must be finished to be reported",
                f"no comparison.json in {run}",
                "run the compare command of that run again; it goes on where it stopped",
            )
        )
    comparison = loads(path.read_bytes(), Comparison)
    page = write_page(comparison, out or run / "report.html")
    Console(stderr=True).print(f"Report: {page}", soft_wrap=True, highlight=False)
