"""The document as one HTML file that needs nothing else: no network, no script, no font."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from normwise._optional import require
from normwise.report.build import build
from normwise.report.document import Document
from normwise.report.figure import Figure, Panel
from normwise.report.palette import SLOTS
from normwise.report.svg import escape, render
from normwise.report.tables import figure_numbers
from normwise.results import Comparison

_WORD = 40
"""A longer word of a command may be broken over lines: it would not fit otherwise."""


def to_html(source: Document | Comparison) -> str:
    """Return the report as one self-contained HTML page.

    Args:
        source: a comparison, or the document that `build` made of one.

    Raises:
        MissingPackageError: jinja2 or matplotlib is not installed.
    """
    document = build(source) if isinstance(source, Comparison) else source
    template = _environment().get_template("report.html.j2")
    return str(template.render(document=document, slots=SLOTS))


@cache
def _environment() -> Any:
    jinja2 = require("jinja2", extra="compare", who="the HTML report")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("normwise.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    markup = require("markupsafe", extra="compare", who="the HTML report").Markup

    def drawings(figure: Figure) -> list[Any]:
        # `render` escapes every text that it is given, so its result may stand as it is.
        return [
            markup(render(panel, f"{figure.id}-{i}", f"{figure.title}: {panel.title}".rstrip(": ")))
            for i, panel in enumerate(figure.panels)
        ]

    def drawing(panel: Panel, uid: str, label: str) -> Any:
        return markup(render(panel, uid, label))

    def flags(text: str) -> Any:
        # A line break inside "--seeds" would make it unreadable, and a special hyphen uncopyable.
        return markup(re.sub(r"--[a-z-]+ \d+", r'<code class="flag">\g<0></code>', escape(text)))

    def unbroken(text: str) -> Any:
        # A line may end between two words of a command, but not inside an option.
        words = re.split(r"(\s+)", text)
        return markup(
            "".join(
                f"<span>{escape(word)}</span>" if 1 < len(word) <= _WORD else escape(word) for word in words
            )
            if len(words) > 1
            else escape(text)
        )

    def breakable(name: str) -> Any:
        # A long name ends its line behind an underscore.
        return markup(escape(name).replace("_", "_<wbr>"))

    environment.filters["breakable"] = breakable
    environment.filters["flags"] = flags
    environment.filters["unbroken"] = unbroken
    environment.filters["drawing"] = drawing
    environment.filters["drawings"] = drawings
    environment.filters["numbers"] = figure_numbers
    return environment
