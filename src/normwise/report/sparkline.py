"""Curves in one line of text: bars of eight heights, the taller the better."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from normwise.report.numbers import finite

BARS = "▁▂▃▄▅▆▇█"
GONE = "×"
"""Where a training diverged and has no value."""


def bounds(curves: Iterable[Sequence[float | None]]) -> tuple[float, float] | None:
    """Return the common lowest and highest value of several curves; None without any value."""
    values = finite(value for curve in curves for value in curve)
    return (min(values), max(values)) if values else None


def sparkline(
    values: Sequence[float | None],
    span: tuple[float, float] | None,
    *,
    higher_is_better: bool,
    gap: str = GONE,
) -> str:
    """Return a bar for every value.

    Args:
        values: the curve; None stands for a value that is not there.
        span: lowest and highest value of all curves that are to be compared.
        higher_is_better: otherwise the lowest value has the tallest bar.
        gap: what is written for a missing value.

    >>> sparkline([0.0, 0.5, None, 1.0], (0.0, 1.0), higher_is_better=True)
    '▁▅×█'
    """
    signs = []
    for value in values:
        if value is None or span is None or not math.isfinite(value):
            signs.append(gap)
            continue
        low, high = span
        share = (value - low) / (high - low) if high > low else 1.0
        share = min(max(share if higher_is_better else 1 - share, 0.0), 1.0)
        signs.append(BARS[round(share * (len(BARS) - 1))])
    return "".join(signs)


def resampled(
    steps: Sequence[float | None], values: Sequence[float | None], width: int
) -> list[float | None]:
    """Return a curve at so many places, evenly spaced in the logarithm of the steps, each with the value before it.

    Args:
        steps: growing; places before the first positive step take the value at zero.
        values: one for each step.
        width: number of places.

    >>> resampled([0, 1, 10, 100], [0.0, 1.0, 2.0, 3.0], 3)
    [1.0, 2.0, 3.0]
    """
    points = [(x, y) for x, y in zip(steps, values, strict=False) if x is not None]
    positive = [x for x, _ in points if x > 0]
    if not positive:
        return [y for _, y in points][:width]
    first, last = positive[0], positive[-1]
    places = [first * (last / first) ** (i / max(1, width - 1)) for i in range(width)]
    # A place that rounding puts just before its own step still belongs to it.
    return [next((y for x, y in reversed(points) if x <= place * (1 + 1e-9)), None) for place in places]
