"""The report as a file, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from normwise.errors import ArgumentError, explain
from normwise.report.html import to_html
from normwise.report.json import to_json
from normwise.results import Comparison

_WRITERS: dict[str, Callable[[Comparison], str]] = {".html": to_html, ".htm": to_html, ".json": to_json}


def report(comparison: Comparison, path: str | os.PathLike[str]) -> Path:
    """Write the report of a comparison to a file; its suffix selects the form, `.html` or `.json`.

    The file appears complete or not at all: the text goes to a temporary file in the same folder, which then
    takes the name. Missing folders are made.

    Raises:
        ArgumentError: the suffix is neither `.html` nor `.json`, or the path is a folder.
    """
    target = Path(path)
    if target.is_dir():
        raise ArgumentError(
            explain(
                "report",
                "`path` must be a file",
                f"the folder {str(target)!r}",
                "add a name such as report.html",
            )
        )
    writer = _WRITERS.get(target.suffix.lower())
    if writer is None:
        raise ArgumentError(
            explain("report", "`path` must end in .html or .json", repr(str(target)), "name it report.html")
        )
    text = writer(comparison)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile: its files are private to their owner, and a report is an ordinary file.
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with draft.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(draft, target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return target
