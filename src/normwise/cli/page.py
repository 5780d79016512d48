"""Write a report; a place that cannot be written is one message."""

from __future__ import annotations

from pathlib import Path

from normwise.errors import StoreError, explain
from normwise.report import report
from normwise.results import Comparison


def write_page(comparison: Comparison, path: Path) -> Path:
    """Write the report to a file and return its path.

    Raises:
        StoreError: the file cannot be written.
    """
    try:
        return report(comparison, path)
    except OSError as error:
        raise StoreError(
            explain(
                "report",
                "the report must be written",
                f"{error.strerror} for {path}",
                "make room, or write it elsewhere with normwise report RUN --out FILE; the run itself is kept",
            )
        ) from None
