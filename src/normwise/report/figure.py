"""What is drawn, without a format: figures of panels of series, as frozen data for every renderer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Number = float | None
Mark = Literal["line", "dots", "range", "link", "tick", "theory"]
"""What a series looks like.

line: joined points, with a band where `low` and `high` are given. dots: one per seed. range: a point
with a bar from `low` to `high`. link: a thin line that joins one seed. tick: a median. theory: a labelled
line that was not measured.
"""

Scale = Literal["linear", "log"]
Size = Literal["half", "small", "mini"]


@dataclass(frozen=True)
class Series:
    """Numbers of one curve or cloud; `slot` selects color, dash and marker, −1 the neutral ink."""

    name: str
    slot: int
    mark: Mark
    x: tuple[Number, ...]
    y: tuple[Number, ...]
    low: tuple[Number, ...] = ()
    high: tuple[Number, ...] = ()
    hollow: bool = False


@dataclass(frozen=True)
class Reference:
    """A labelled straight line at a fixed value of y."""

    value: float
    label: str


@dataclass(frozen=True)
class Panel:
    """One pair of axes; with `categories` the x values are indices into them, drawn from top to bottom."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    x_scale: Scale = "linear"
    y_scale: Scale = "linear"
    categories: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    from_zero: bool = False
    limits: tuple[float, float] | None = None
    size: Size = "half"
    ticks: tuple[
        float, ...
    ] = ()  # of the horizontal axis, where it has few values; otherwise they are chosen


@dataclass(frozen=True)
class LegendEntry:
    """A name and its slot; the same name has the same slot in every figure of a setting."""

    name: str
    slot: int


@dataclass(frozen=True)
class Figure:
    """Panels under one caption that says in words what they show."""

    id: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    legend: tuple[LegendEntry, ...] = ()
    note: str = ""
    kind: Literal["figure"] = "figure"
