"""Where the answer of `normwise diagnose` goes: stdout in one form, files in those that their endings name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from normwise.cli.output_files import WEIGHTS, check_files, write_files
from normwise.errors import ArgumentError, explain, unknown_name

if TYPE_CHECKING:
    from normwise.diagnose.from_files import Found
    from normwise.results.diagnosis import Diagnosis

Format = Literal["text", "json", "github", "html"]

_WHO = "diagnose"


def checked_files(out: Sequence[Path], *, fix: bool) -> list[Path]:
    """Files to write, before anything is measured.

    Raises:
        ArgumentError: an ending that says nothing, weights without --fix, or a place where none can be written.
    """
    from normwise.report.diagnosis_write import check_diagnosis_path

    for file in out:
        if file.suffix not in WEIGHTS:
            check_diagnosis_path(file)
        elif not fix:
            must = f"weights in `--out` are those of the copy that --fix makes: {file.name}"
            raise ArgumentError(explain(_WHO, must, "no --fix", "add --fix, or name a .html file"))
        else:
            check_files(_WHO, {"--out": file})
    return list(out)


def format_of(format: str | None, *, json: bool, files: Sequence[Path]) -> Format:
    """What goes to stdout: text where the page goes to a file.

    Raises:
        UnknownNameError, ArgumentError: no such format, or two of them.
    """
    if format is not None and format not in get_args(Format):
        raise unknown_name(_WHO, "format", format, get_args(Format))
    if json and format not in (None, "json"):
        must = "--json is short for --format json"
        raise ArgumentError(explain(_WHO, must, f"--format {format} beside it", "leave one away"))
    asked: Format = "json" if json else (format or "text")  # type: ignore[assignment]
    paged = asked == "html" and ".html" in [file.suffix.lower() for file in files]
    return "text" if paged else asked


def show(
    found: Found,
    diagnosis: Diagnosis,
    shown: Format,
    writers: Mapping[Path, Callable[[Path], object]],
    *,
    verbose: bool,
) -> None:
    """Write all files or none, then print the answer; where the files are goes to stderr.

    Args:
        found: what was diagnosed.
        diagnosis: the answer.
        shown: the form on stdout.
        writers: what writes each file.
        verbose: as in `diagnosis_to_terminal`.

    Raises:
        StoreError: a file cannot be written.
    """
    from rich.console import Console

    write_files(_WHO, writers)
    if shown == "text":
        from normwise.report.diagnosis_terminal import diagnosis_to_terminal

        diagnosis_to_terminal(diagnosis, Console(), verbose=verbose)
    else:
        text = _written(found, diagnosis, shown)
        if text:  # a clean diagnosis annotates nothing
            print(text)
    for file in writers:
        Console(stderr=True).print(f"written: {file}", soft_wrap=True, highlight=False)


def _written(found: Found, diagnosis: Diagnosis, shown: Format) -> str:
    if shown == "json":
        from normwise.results import dumps

        return dumps(diagnosis, indent=1)
    if shown == "html":
        from normwise.report.diagnosis_html import diagnosis_to_html

        return diagnosis_to_html(diagnosis)
    from normwise.diagnose.from_files import defined_at
    from normwise.report.diagnosis_github import diagnosis_to_github

    return diagnosis_to_github(diagnosis, *defined_at(found))
