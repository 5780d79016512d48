"""A diagnosis as a file, in the form that its suffix names."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from normwise.errors import ArgumentError, StoreError, explain
from normwise.report.diagnosis_html import diagnosis_to_html
from normwise.report.numbers import listing
from normwise.results import dumps
from normwise.results.diagnosis import Diagnosis

DIAGNOSIS_WRITERS: dict[str, Callable[[Diagnosis], str]] = {
    ".html": diagnosis_to_html,
    ".json": lambda diagnosis: dumps(diagnosis, indent=1),
    ".txt": lambda diagnosis: f"{diagnosis}\n",
}


def check_diagnosis_path(path: Path) -> None:
    """Refuse a path that no diagnosis can be written to, before anything is measured.

    Raises:
        ArgumentError: another suffix, or a folder.
    """
    if path.is_dir() or path.suffix.lower() not in DIAGNOSIS_WRITERS:
        must = f"`--out` must be a file that ends in {listing(list(DIAGNOSIS_WRITERS), 'or')}"
        raise ArgumentError(explain("diagnose", must, repr(str(path)), "name it diagnosis.html"))


def write_diagnosis(diagnosis: Diagnosis, path: str | os.PathLike[str]) -> Path:
    """Write a diagnosis to `.html`, `.json` or `.txt`: whole or not at all; missing folders are made.

    Raises:
        ArgumentError: another suffix, or a folder.
        StoreError: the file cannot be written.
    """
    target = Path(path)
    check_diagnosis_path(target)
    content = DIAGNOSIS_WRITERS[target.suffix.lower()](diagnosis)
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(content, encoding="utf-8")
        os.replace(draft, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        must = "the diagnosis must be written"
        raise StoreError(explain("diagnose", must, f"{error.strerror} for {target}")) from None
    return target
