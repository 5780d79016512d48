"""The report of a comparison: a format-free document, rendered to HTML, Markdown, PNG, JSON and the
terminal.

The package can be called: ``normwise.report(comparison, "report.html")`` is ``normwise.report.report(…)``.
"""

from normwise._exports import attach
from normwise.report.build import build
from normwise.report.card import to_png
from normwise.report.document import Document
from normwise.report.html import to_html
from normwise.report.json import to_json
from normwise.report.markdown import to_markdown
from normwise.report.terminal import to_terminal
from normwise.report.write import FORMATS, report

__all__ = [
    "FORMATS",
    "Document",
    "build",
    "report",
    "to_html",
    "to_json",
    "to_markdown",
    "to_png",
    "to_terminal",
]

attach(__name__, {"report": "normwise.report.write"}, call="report")
