"""The program `normwise`."""

from __future__ import annotations

import sys

import typer

from normwise.cli.compare import compare
from normwise.cli.list import list_names
from normwise.cli.report import report
from normwise.errors import NormwiseError

app = typer.Typer(
    name="normwise",
    help="Normalization and regularization for neural networks: what helps, by how much, how surely.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command()(compare)
app.command()(report)
app.command("list")(list_names)


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"normwise {installed('normwise')}")
        raise typer.Exit


def main() -> None:
    """Run the program; a known error is one message and exit code 2."""
    try:
        app()
    except NormwiseError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
