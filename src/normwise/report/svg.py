"""One panel to SVG by matplotlib, its colors turned into CSS variables so that it follows the theme."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator
from typing import Any

from normwise._optional import require
from normwise.report.axes import category_axis, finish
from normwise.report.document import Panel, Series
from normwise.report.numbers import finite
from normwise.report.palette import SLOTS

# Colors that nothing else uses stand for roles while matplotlib draws; each becomes a CSS variable.
INK, MUTED, GRID, CARD = "#010203", "#010204", "#010205", "#010206"
_ROLES = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)", CARD: "var(--card)"}
_ROLES.update({f"#0102{16 + slot:02x}": f"var(--s{slot})" for slot in range(len(SLOTS))})
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a "$" in a user's name is a dollar sign
    "font.size": 11.0,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "axes.linewidth": 0.8,
    "grid.linewidth": 0.7,
    "path.simplify": True,
}
# The styles that return most often, as classes of the page: a third of its size otherwise.
_CLASSES = {
    "fill: none; stroke: var(--grid); stroke-width: 0.7; stroke-linecap: square": "grid",
    "font-size: 11px; text-anchor: start; fill: var(--ink)": "ts",
    "font-size: 11px; text-anchor: middle; fill: var(--ink)": "tm",
    "font-size: 11px; text-anchor: end; fill: var(--ink)": "te",
}
_ROW = 27
_SIZES = {"half": (440, 280), "small": (240, 160)}


def color(slot: int) -> str:
    """Return the placeholder color of a slot."""
    return MUTED if slot < 0 else f"#0102{16 + slot:02x}"


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
    left = 46 if panel.size == "half" else 34
    if panel.categories:
        height = 58 + _ROW * len(panel.categories)
        left = 16 + round(6.3 * min(22, max(map(len, panel.categories))))
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": uid}), warnings.catch_warnings():
        # A name in a script that matplotlib's own font lacks is still drawn by the reader's browser.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = figures.Figure(figsize=(width / 72, height / 72))
        bottom, top = (36, 24) if panel.size == "half" else (32, 8)
        top = 6 if panel.categories else top
        axes = figure.add_axes(
            (left / width, bottom / height, (width - left - 12) / width, (height - bottom - top) / height)
        )
        _draw(axes, panel)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    return _clean(stream.getvalue(), uid, label, width, height)


def _draw(axes: Any, panel: Panel) -> None:
    if panel.categories:
        category_axis(axes, panel)
    else:
        axes.set_xscale(panel.x_scale)
    drawn = [value for series in panel.series for _, value in _points(series, panel)]
    if not drawn:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "nothing was measured", transform=axes.transAxes, ha="center", color=MUTED)
        return
    for reference in panel.references:
        line = axes.axvline if panel.categories else axes.axhline
        line(reference.value, color=MUTED, linewidth=1, dashes=(2, 2), zorder=1)
        if reference.label:
            axes.annotate(
                reference.label,
                (0, reference.value),
                xycoords=("axes fraction", "data"),
                xytext=(4, 3),
                textcoords="offset points",
                color=MUTED,
                fontsize=10,
            )
    marks = {"line": _line, "dots": _dots, "range": _range, "link": _link, "tick": _tick, "theory": _theory}
    for series in panel.series:
        marks[series.mark](axes, series, panel)
    finish(axes, panel, drawn)


def _points(series: Series, panel: Panel) -> Iterator[tuple[float, float]]:
    for x, y in zip(series.x, series.y, strict=False):
        if x is None or y is None or not (math.isfinite(x) and math.isfinite(y)):
            continue
        if (panel.x_scale == "log" and x <= 0) or (panel.y_scale == "log" and y <= 0):
            continue
        yield x, y


def _gapped(series: Series, panel: Panel) -> tuple[list[float], list[float], list[float], list[float]]:
    """Return x, y, low, high with NaN where a value is missing, so that a line breaks there."""
    nan = math.nan
    rows: list[tuple[float, float, float, float]] = []
    blank = (None,) * len(series.x)
    for x, *values in zip(series.x, series.y, series.low or blank, series.high or blank, strict=False):
        if x is None or not math.isfinite(x) or (panel.x_scale == "log" and x <= 0):
            continue
        kept = [nan if v is None or (panel.y_scale == "log" and v <= 0) else v for v in values]
        rows.append((x, kept[0], kept[1], kept[2]))
    if not rows:
        return [], [], [], []
    return [r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows], [r[3] for r in rows]


def _line(axes: Any, series: Series, panel: Panel) -> None:
    x, y, low, high = _gapped(series, panel)
    slot, ink = SLOTS[series.slot % len(SLOTS)], color(series.slot)
    if finite(series.low):
        alpha = 0.22 if panel.size == "small" else 0.12
        axes.fill_between(x, low, high, color=ink, alpha=alpha, linewidth=0, zorder=2)
    step = max(1, math.ceil(len(x) / 6))
    axes.plot(
        x,
        y,
        color=ink,
        linewidth=1.8,
        dashes=slot.dash or (None, None),
        marker="" if panel.size == "small" else slot.marker,
        markersize=5.2 + slot.extra,
        markeredgewidth=0,
        markevery=(series.slot % step, step),
        zorder=4,
    )


def _dots(axes: Any, series: Series, panel: Panel) -> None:
    points = list(_points(series, panel))
    slot, ink = SLOTS[series.slot % len(SLOTS)], color(series.slot)
    axes.plot(
        [y for _, y in points],
        [x for x, _ in points],
        linestyle="",
        marker=slot.marker,
        markersize=6.4 + slot.extra,
        color=ink,
        markerfacecolor=CARD if series.hollow else ink,
        markeredgecolor=ink if series.hollow else CARD,
        markeredgewidth=1.4 if series.hollow else 0.7,
        alpha=1.0 if series.hollow else 0.9,
        zorder=5,
    )


def _range(axes: Any, series: Series, panel: Panel) -> None:
    slot, ink = SLOTS[series.slot % len(SLOTS)], color(series.slot)
    for x, low, high in zip(series.x, series.low, series.high, strict=False):
        if x is not None and low is not None and high is not None:
            axes.plot(
                [low, high], [x, x], color=ink, linewidth=2.2, alpha=0.55, solid_capstyle="round", zorder=3
            )
    for x, y in _points(series, panel):
        axes.plot(
            [y],
            [x],
            marker=slot.marker,
            markersize=7 + slot.extra,
            color=ink,
            markeredgecolor=CARD,
            markeredgewidth=0.7,
        )


def _link(axes: Any, series: Series, panel: Panel) -> None:
    points = list(_points(series, panel))
    axes.plot(
        [y for _, y in points], [x for x, _ in points], color=MUTED, linewidth=0.8, alpha=0.55, zorder=2
    )


def _tick(axes: Any, series: Series, panel: Panel) -> None:
    for x, y in _points(series, panel):
        axes.plot([y, y], [x - 0.32, x + 0.32], color=color(series.slot), linewidth=2.4, zorder=4)


def _theory(axes: Any, series: Series, panel: Panel) -> None:
    x, y, _, _ = _gapped(series, panel)
    axes.plot(x, y, color=MUTED, linewidth=1, dashes=(4, 3), zorder=3)
    axes.annotate(
        series.name,
        (x[0], y[0]),
        xytext=(5, 4),
        textcoords="offset points",
        color=MUTED,
        fontsize=10,
        annotation_clip=False,
        zorder=6,
        bbox={"facecolor": CARD, "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
    )


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
