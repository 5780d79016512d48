"""The program `normwise`."""

from __future__ import annotations

import sys
from typing import cast

import typer

from normwise.cli.bench import bench
from normwise.cli.build_native import build_native
from normwise.cli.compare import compare
from normwise.cli.convert import convert
from normwise.cli.diagnose import diagnose
from normwise.cli.doctor import doctor
from normwise.cli.fold import fold
from normwise.cli.insert import insert
from normwise.cli.list import list_names
from normwise.cli.recalibrate import recalibrate
from normwise.cli.report import report
from normwise.cli.rule import rule
from normwise.errors import NormwiseError

MORE = "More commands"

app = typer.Typer(
    name="normwise",
    help="Normalization and regularization for neural networks: what helps, by how much, how surely.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command()(compare)
app.command()(report)
app.command()(diagnose)
app.command()(insert)
app.command(rich_help_panel=MORE)(fold)
app.command(rich_help_panel=MORE)(convert)
app.command(rich_help_panel=MORE)(recalibrate)
app.command(rich_help_panel=MORE)(rule)
app.command("list", rich_help_panel=MORE)(list_names)
app.command(rich_help_panel=MORE)(doctor)
app.command("build-native", rich_help_panel=MORE)(build_native)
app.command(rich_help_panel=MORE)(bench)


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"normwise {installed('normwise')}")
        raise typer.Exit


# What the parser raises; typer brings it itself or takes it from click, depending on its version.
_ParserError = cast("type[Exception]", typer.BadParameter.__mro__[2])


def main() -> None:
    """Run the program; a known error is one line and exit code 2."""
    try:
        code = app(standalone_mode=False)
    except NormwiseError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except _ParserError as error:
        _tell(error)
        raise SystemExit(2) from None
    except typer.Abort:
        raise SystemExit(130) from None
    sys.exit(code if isinstance(code, int) else 0)


def _tell(error: Exception) -> None:
    """What was wrong with the command line, in one line; without any command, the help."""
    if "NoArgsIsHelp" in type(error).__name__:
        error.show()  # type: ignore[attr-defined]
        return
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "normwise"
    message = " ".join(error.format_message().split()).rstrip(".")  # type: ignore[attr-defined]
    print(f"error: {command}: {message}. hint: see {command} --help", file=sys.stderr)
