"""`normwise report`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from normwise.errors import ArgumentError, DataError, StoreError, explain, unknown_name

if TYPE_CHECKING:
    from normwise.results import Comparison

_SUFFIXES = {"html": ".html", "md": ".md", "png": ".png", "json": ".json"}


def report(
    run: Annotated[Path, typer.Argument(help="The directory of a run.", show_default=False)],
    format: Annotated[
        str | None,
        typer.Option(
            help="html, md, png or json; told from --out by default, else html.",
            autocompletion=lambda incomplete: [name for name in _SUFFIXES if name.startswith(incomplete)],
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Where to write, or - for stdout; by default report.FORMAT in the run directory.",
        ),
    ] = None,
) -> None:
    """Write the report of a run, also of one that was interrupted, as a page, as Markdown, as a picture, or as JSON."""
    from rich.console import Console

    from normwise.cli.page import write_page

    if format is not None and format not in _SUFFIXES:
        raise unknown_name("report", "format", format, _SUFFIXES)
    to_stdout = out is not None and str(out) == "-"
    kind = format or (out.suffix.lower().removeprefix(".") if out is not None and not to_stdout else "html")
    if format is not None and out is not None and not to_stdout and out.suffix.lower() != _SUFFIXES[format]:
        raise ArgumentError(
            explain(
                "report",
                "`--out` must end as `--format` says",
                f"{out} for {format}",
                f"name it {out.stem}{_SUFFIXES[format]}",
            )
        )
    _check(run)
    comparison = _comparison(run)
    if to_stdout:
        _print(comparison, kind)
        return
    page = write_page(comparison, out or run / f"report.{kind}")
    Console(stderr=True).print(f"Report: {page}", soft_wrap=True, highlight=False)


def _check(run: Path) -> None:
    if not (run / "run.json").is_file():
        got = f"{run}, which is not there" if not run.exists() else f"{run}, which holds no run.json"
        raise StoreError(explain("report", "`RUN` must be the directory of a run", got, "look in runs/"))


def _comparison(run: Path) -> Comparison:
    """The answer that the run left, or, where it was killed before it could, the one that its records give."""
    from normwise.results import Comparison, loads

    path = run / "comparison.json"
    # It is derived: one that is broken, or of another version, is made again from the records.
    with contextlib.suppress(FileNotFoundError, DataError):
        return loads(path.read_bytes(), Comparison)
    from normwise.compare.reopen import reopen

    return reopen(run)


def _print(comparison: Comparison, kind: str) -> None:
    import tempfile

    from normwise.cli.page import write_page

    with tempfile.TemporaryDirectory() as folder:
        path = write_page(comparison, Path(folder) / f"report.{kind}")
        sys.stdout.buffer.write(path.read_bytes())
        sys.stdout.buffer.flush()
