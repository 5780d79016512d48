"""One panel to SVG by matplotlib, its colors turned into CSS variables so that it follows the theme."""

from __future__ import annotations

import io
import re
import warnings

from normwise._optional import require
from normwise.report.axes import LONGEST
from normwise.report.draw import Inks, draw
from normwise.report.figure import Panel
from normwise.report.names import clipped, columns
from normwise.report.palette import SLOTS

# Colors that nothing else uses stand for roles while matplotlib draws; each becomes a CSS variable.
_INKS = Inks(
    ink="#010203",
    muted="#010204",
    grid="#010205",
    card="#010206",
    slots=tuple(f"#0102{16 + slot:02x}" for slot in range(len(SLOTS))),
)
_ROLES = {getattr(_INKS, role): f"var(--{role})" for role in ("ink", "muted", "grid", "card")}
_ROLES.update({color: f"var(--s{slot})" for slot, color in enumerate(_INKS.slots)})
# The styles that return most often, as classes of the page: a third of its size otherwise.
_CLASSES = {
    "fill: none; stroke: var(--grid); stroke-width: 0.7; stroke-linecap: square": "grid",
    "font-size: 11px; text-anchor: start; fill: var(--ink)": "ts",
    "font-size: 11px; text-anchor: middle; fill: var(--ink)": "tm",
    "font-size: 11px; text-anchor: end; fill: var(--ink)": "te",
}
_ROW = 27
_SIZES = {"half": (440, 280), "small": (240, 160), "mini": (270, 178)}
# Left, bottom and top of the axes in points.
_EDGES = {"half": (46, 36, 24), "small": (34, 32, 8), "mini": (34, 32, 8)}


def render(panel: Panel, uid: str, label: str) -> str:
    """Draw a panel as an `<svg>` element that can stand inside HTML.

    Args:
        panel: what to draw.
        uid: prefix of all ids, unique in the page.
        label: what the drawing shows, for readers that cannot see it; escaped here.
    """
    matplotlib = require("matplotlib", extra="compare", who="the figures of the report")
    figures = require("matplotlib.figure", extra="compare", who="the figures of the report")
    width, height = _SIZES[panel.size]
    left, bottom, top = _EDGES[panel.size]
    if panel.categories:
        height = 58 + _ROW * len(panel.categories)
        left = 16 + round(6.3 * max(columns(clipped(name, LONGEST)) for name in panel.categories))
        top = 6
    style = {**_INKS.style(), "svg.fonttype": "none", "svg.hashsalt": uid}
    with matplotlib.rc_context(style), warnings.catch_warnings():
        # A name in a script that matplotlib's own font lacks is still drawn by the reader's browser.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = figures.Figure(figsize=(width / 72, height / 72))
        axes = figure.add_axes(
            (left / width, bottom / height, (width - left - 12) / width, (height - bottom - top) / height)
        )
        draw(axes, panel, _INKS)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    return _clean(stream.getvalue(), uid, label, width, height)


def _clean(svg: str, uid: str, label: str, width: int, height: int) -> str:
    """Keep only the drawing: no prologue, namespace or metadata, unique ids, theme colors, short numbers."""
    body = svg[svg.index("<svg") : svg.rindex("</svg>")]
    body = body[body.index(">") + 1 :]
    body = re.sub(r"\s*<metadata>.*?</metadata>", "", body, flags=re.S)
    body = re.sub(r"<style type=\"text/css\">.*?</style>", "", body, flags=re.S)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.S)
    used = set(re.findall(r"url\(#([^)]+)\)", body)) | set(re.findall(r'href="#([^"]+)"', body))
    body = re.sub(r' id="([^"]+)"', lambda match: f' id="{uid}-{match[1]}"' if match[1] in used else "", body)
    body = re.sub(r"url\(#", f"url(#{uid}-", body)
    body = re.sub(r'xlink:href="#', f'href="#{uid}-', body)
    for placeholder, variable in _ROLES.items():
        body = body.replace(placeholder, variable)
    body = re.sub(r"font: (?:[^;\"]*? )?([\d.]+)px [^;\"]*", r"font-size: \1px", body)
    body = re.sub(r" font-family: [^;\"]*;", "", body)
    body = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", body)
    # Numbers only inside tags: those between tags are the labels of the ticks.
    body = re.sub(r"<[^>]*>", lambda tag: re.sub(r"-?\d+\.\d{2,}", _short, tag[0]), body)
    body = re.sub(r'<path d="[^"]*" style="fill: none"/>', "", body)
    for style, name in _CLASSES.items():
        body = body.replace(f'style="{style}"', f'class="{name}"')
    body = re.sub(r"; stroke-linejoin: miter|; stroke-linecap: square", "", body)
    body = re.sub(r' clip-path="[^"]*" class="grid"', ' class="grid"', body)
    body = re.sub(r"\s*\n\s*", " ", body)
    body = re.sub(r"<defs> </defs>|<g/>", "", body)
    body = re.sub(r"> <", "><", body)
    text = escape(label)
    return (
        f'<svg class="plot" viewBox="0 0 {width} {height}" role="img" aria-labelledby="{uid}-title">'
        f'<title id="{uid}-title">{text}</title>{body}</svg>'
    )


def _short(match: re.Match[str]) -> str:
    return f"{float(match[0]):.1f}".removesuffix(".0")


def escape(text: str) -> str:
    """Escape text for HTML."""
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(sign, entity)
    return text
