"""The report of a comparison: a format-free document, rendered to HTML, terminal and JSON.

The package can be called: ``normwise.report(comparison, "report.html")`` is ``normwise.report.report(…)``.
"""

from normwise._exports import attach
from normwise.report.build import build
from normwise.report.document import Document
from normwise.report.html import to_html
from normwise.report.json import to_json
from normwise.report.terminal import to_terminal
from normwise.report.write import report

__all__ = ["Document", "build", "report", "to_html", "to_json", "to_terminal"]

attach(__name__, {"report": "normwise.report.write"}, call="report")
