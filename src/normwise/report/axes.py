"""Axes that read well: limits, ticks and labels of one panel."""

from __future__ import annotations

import math
from typing import Any

from normwise._optional import require
from normwise.report.figure import Panel, Series
from normwise.report.names import clipped
from normwise.report.numbers import finite, tick

_WILD = 12.0
"""A range this many times the middle half of the values is cut, and the panel says so."""

_MANY = 12
"""Of fewer values none is cut: the middle half of a handful says nothing."""

LONGEST = 22
"""Columns that the name of a category may take."""


def category_axis(axes: Any, panel: Panel) -> None:
    """Put the categories on the vertical axis, the first one on top."""
    names = [clipped(name, LONGEST) for name in panel.categories]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def finish(axes: Any, panel: Panel, drawn: list[float]) -> None:
    """Set limits, ticks, grid and labels."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(visible=True, which="major", axis="x" if panel.categories else "both")
    axes.tick_params(length=0, pad=4)
    if panel.categories:
        _limits(axes, panel, drawn, horizontal=True)
        _plain_ticks(axes.xaxis, 5)
        axes.set_xlabel(panel.y_label, loc="right")
        return
    _limits(axes, panel, drawn, horizontal=False)
    small = panel.size != "half"
    for axis, scale in ((axes.xaxis, panel.x_scale), (axes.yaxis, panel.y_scale)):
        if scale == "log":
            _log_ticks(axis)
        else:
            _plain_ticks(axis, 4 if small else 6, whole=axis is axes.xaxis and panel.x_label != "")
    if panel.ticks:
        _own_ticks(axes.xaxis, panel.ticks)
    axes.set_xlabel(panel.x_label, loc="right")
    if panel.y_label:
        axes.annotate(
            panel.y_label,
            (0, 1),
            xycoords=("figure fraction", "axes fraction"),
            xytext=(4, 8),
            textcoords="offset points",
            annotation_clip=False,
        )


def _limits(axes: Any, panel: Panel, drawn: list[float], *, horizontal: bool) -> None:
    spread = [value for series in panel.series for value in _band(series, panel)]
    marks = [reference.value for reference in panel.references]
    values = sorted([*drawn, *spread, *marks])
    set_limits = axes.set_xlim if horizontal else axes.set_ylim
    if panel.y_scale == "log":
        axes.set_yscale("log")
        positive = [value for value in values if value > 0]
        low, high = positive[0], positive[-1]
        pad = max(1.06, (high / low) ** 0.05)
        set_limits(low / pad, high * pad)
        return
    if panel.limits is not None:
        set_limits(*panel.limits)
        return
    low, high = values[0], values[-1]
    quarter = len(values) // 4
    middle = values[-1 - quarter] - values[quarter]
    beyond = ""
    if middle > 0 and high - low > _WILD * middle and len(values) >= _MANY and not panel.categories:
        cut_low, cut_high = values[quarter] - 4 * middle, values[-1 - quarter] + 4 * middle
        beyond = "lower values are cut" * (low < cut_low) + "higher values are cut" * (
            high > cut_high and low >= cut_low
        )
        # What is compared with is always in view.
        low, high = min(max(low, cut_low), *marks, high), max(min(high, cut_high), *marks, low)
    if panel.from_zero:
        low = min(0.0, low)
    pad = (high - low) * 0.05 or max(abs(high) * 0.05, 0.5)
    set_limits(low if panel.from_zero and low == 0 and horizontal else low - pad, high + pad)
    if beyond:
        # In a small panel the place above the axes is the title's; the left end below them is free.
        small = panel.size != "half"
        axes.annotate(
            beyond,
            (0, 0) if small else (1, 1),
            xycoords="axes fraction",
            xytext=(0, -27) if small else (0, 8),
            textcoords="offset points",
            ha="left" if small else "right",
            annotation_clip=False,
            fontsize=10,
        )


def _band(series: Series, panel: Panel) -> list[float]:
    """Return the ends of a band where it can be drawn: a logarithmic axis has no place for step 0."""
    return finite(
        value
        for ends in (series.low, series.high)
        for x, value in zip(series.x, ends, strict=False)
        if panel.x_scale != "log" or (x is not None and x > 0)
    )


def _plain_ticks(axis: Any, most: int, *, whole: bool = False) -> None:
    ticker = require("matplotlib.ticker", extra="compare", who="the figures of the report")
    axis.set_major_locator(ticker.MaxNLocator(nbins=most, integer=whole))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: tick(value)))


def _own_ticks(axis: Any, values: tuple[float, ...]) -> None:
    ticker = require("matplotlib.ticker", extra="compare", who="the figures of the report")
    axis.set_major_locator(ticker.FixedLocator(list(values)))
    axis.set_minor_locator(ticker.NullLocator())
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: tick(value)))


def _log_ticks(axis: Any) -> None:
    ticker = require("matplotlib.ticker", extra="compare", who="the figures of the report")
    low, high = axis.get_view_interval()
    decades = math.log10(high / low) if low > 0 else 3.0
    if decades < 0.7:
        axis.set_major_locator(ticker.MaxNLocator(nbins=4))
    else:
        axis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2 else (1.0,), numticks=7))
    axis.set_minor_locator(ticker.NullLocator())
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: tick(value)))
