"""The report as a file, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from normwise.errors import ArgumentError, explain
from normwise.report.card import to_png
from normwise.report.diagnosis_write import write_diagnosis
from normwise.report.html import to_html
from normwise.report.json import to_json
from normwise.report.markdown import to_markdown
from normwise.report.numbers import listing
from normwise.results import Comparison, Diagnosis

FORMATS = ("html", "md", "png", "json")
"""The forms of a report, each by the suffix of its file."""

_WRITERS: dict[str, Callable[[Comparison], str | bytes]] = {
    "html": to_html,
    "htm": to_html,
    "md": to_markdown,
    "png": to_png,
    "json": to_json,
}


def report(record: Comparison | Diagnosis, path: str | os.PathLike[str]) -> Path:
    """Write the report of a comparison or a diagnosis to a file; its suffix selects the form.

    The file appears complete or not at all: it is written beside its place, and then takes the name. Missing folders
    are made.

    Args:
        record: what is reported.
        path: `.html`, `.md`, `.png` or `.json` of a comparison; `.html`, `.txt` or `.json` of a diagnosis.

    Raises:
        ArgumentError: the suffix is another one, or the path is a folder.
    """
    if isinstance(record, Diagnosis):
        return write_diagnosis(record, path)
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
    writer = _WRITERS.get(target.suffix.lower().removeprefix("."))
    if writer is None:
        raise ArgumentError(
            explain(
                "report",
                f"`path` must end in {listing([f'.{form}' for form in FORMATS], 'or')}",
                repr(str(target)),
                "name it report.html",
            )
        )
    content = writer(record)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile: its files are private to their owner, and a report is an ordinary file.
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as stream:
            stream.write(content if isinstance(content, bytes) else content.encode("utf-8"))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(draft, target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return target
