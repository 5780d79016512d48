"""One panel onto matplotlib's axes, in the inks of a page or of a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from normwise.report.axes import category_axis, finish
from normwise.report.figure import Panel, Series
from normwise.report.numbers import finite
from normwise.report.palette import SLOTS


@dataclass(frozen=True)
class Inks:
    """The colors of a drawing: text, what stays behind, the grid, the ground, and one for each slot."""

    ink: str
    muted: str
    grid: str
    card: str
    slots: tuple[str, ...]

    def of(self, slot: int) -> str:
        """Return the color of a slot; a negative one is drawn in the color of what stays behind."""
        return self.muted if slot < 0 else self.slots[slot % len(self.slots)]

    def style(self) -> dict[str, Any]:
        """Return matplotlib's settings for these inks."""
        return {
            "text.parse_math": False,  # a "$" in a user's name is a dollar sign
            "font.size": 11.0,
            "axes.edgecolor": self.muted,
            "axes.labelcolor": self.ink,
            "text.color": self.ink,
            "xtick.color": self.muted,
            "ytick.color": self.muted,
            "xtick.labelcolor": self.ink,
            "ytick.labelcolor": self.ink,
            "grid.color": self.grid,
            "axes.linewidth": 0.8,
            "grid.linewidth": 0.7,
            "path.simplify": True,
        }


def draw(axes: Any, panel: Panel, inks: Inks) -> None:
    """Draw a panel; one without any value says so.

    Args:
        axes: matplotlib's axes, where `Inks.style` holds.
        panel: what to draw.
        inks: the colors.
    """
    if panel.categories:
        category_axis(axes, panel)
    else:
        axes.set_xscale(panel.x_scale)
    drawn = [value for series in panel.series for _, value in _points(series, panel)]
    if not drawn:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "nothing was measured", transform=axes.transAxes, ha="center", color=inks.muted)
        return
    for reference in panel.references:
        line = axes.axvline if panel.categories else axes.axhline
        line(reference.value, color=inks.muted, linewidth=1, dashes=(2, 2), zorder=1)
        if reference.label:
            axes.annotate(
                reference.label,
                (0, reference.value),
                xycoords=("axes fraction", "data"),
                xytext=(4, 3),
                textcoords="offset points",
                color=inks.muted,
                fontsize=10,
            )
    marks = {"line": _line, "dots": _dots, "range": _range, "link": _link, "tick": _tick, "theory": _theory}
    for series in panel.series:
        marks[series.mark](axes, series, panel, inks)
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


def _line(axes: Any, series: Series, panel: Panel, inks: Inks) -> None:
    x, y, low, high = _gapped(series, panel)
    slot, ink = SLOTS[series.slot % len(SLOTS)], inks.of(series.slot)
    if finite(series.low):
        alpha = 0.22 if panel.size != "half" else 0.12
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


def _dots(axes: Any, series: Series, panel: Panel, inks: Inks) -> None:
    points = list(_points(series, panel))
    slot, ink = SLOTS[series.slot % len(SLOTS)], inks.of(series.slot)
    axes.plot(
        [y for _, y in points],
        [x for x, _ in points],
        linestyle="",
        marker=slot.marker,
        markersize=6.4 + slot.extra,
        color=ink,
        markerfacecolor=inks.card if series.hollow else ink,
        markeredgecolor=ink if series.hollow else inks.card,
        markeredgewidth=1.4 if series.hollow else 0.7,
        alpha=1.0 if series.hollow else 0.9,
        zorder=5,
    )


def _range(axes: Any, series: Series, panel: Panel, inks: Inks) -> None:
    slot, ink = SLOTS[series.slot % len(SLOTS)], inks.of(series.slot)
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
            markeredgecolor=inks.card,
            markeredgewidth=0.7,
        )


def _link(axes: Any, series: Series, panel: Panel, inks: Inks) -> None:
    points = list(_points(series, panel))
    axes.plot(
        [y for _, y in points], [x for x, _ in points], color=inks.muted, linewidth=0.8, alpha=0.55, zorder=2
    )


def _tick(axes: Any, series: Series, panel: Panel, inks: Inks) -> None:
    for x, y in _points(series, panel):
        axes.plot([y, y], [x - 0.32, x + 0.32], color=inks.of(series.slot), linewidth=2.4, zorder=4)


def _theory(axes: Any, series: Series, panel: Panel, inks: Inks) -> None:
    x, y, _, _ = _gapped(series, panel)
    axes.plot(x, y, color=inks.muted, linewidth=1, dashes=(4, 3), zorder=3)
    axes.annotate(
        series.name,
        (x[0], y[0]),
        xytext=(5, 4),
        textcoords="offset points",
        color=inks.muted,
        fontsize=10,
        annotation_clip=False,
        zorder=6,
        bbox={"facecolor": inks.card, "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
    )
