"""The report of a comparison: a format-free document, rendered to HTML, terminal and JSON.

The package can be called: ``normwise.report(comparison, "report.html")`` is ``normwise.report.report(…)``.
"""

import os
import sys
from pathlib import Path
from types import ModuleType

from normwise.report.build import build
from normwise.report.document import Document
from normwise.report.html import to_html
from normwise.report.json import to_json
from normwise.report.terminal import to_terminal
from normwise.report.write import report
from normwise.results import Comparison

__all__ = ["Document", "build", "report", "to_html", "to_json", "to_terminal"]


class _CallableModule(ModuleType):
    """`normwise.report` names this package once it is imported, so the package answers the call."""

    def __call__(self, comparison: Comparison, path: str | os.PathLike[str]) -> Path:
        return report(comparison, path)


sys.modules[__name__].__class__ = _CallableModule
