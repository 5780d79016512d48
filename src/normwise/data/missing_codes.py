"""Numbers such as −999 that stand for a missing value."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_NINES = frozenset(float("9" * digits) for digits in range(2, 9))

FEWEST = 2
FAR = 2
"""A code lies so many ranges of all other numbers away from them."""


def code_for_missing(values: npt.NDArray[np.float64]) -> float | None:
    """The number of nines, such as −999, that several rows have far from all other numbers; None without one.

    `values` (N,) are NaN where missing and hold at least one number.

    >>> code_for_missing(np.array([1.0, -999, 3, -999, 2]))
    -999.0
    >>> code_for_missing(np.array([997.0, 998, 999, 999])) is None
    True
    """
    for edge in (float(np.nanmin(values)), float(np.nanmax(values))):
        if abs(edge) not in _NINES or np.count_nonzero(values == edge) < FEWEST:
            continue
        others = values[~np.isnan(values) & (values != edge)]
        if not len(others):
            continue
        low, high = float(others.min()), float(others.max())
        gap = low - edge if edge < low else edge - high
        if high > low and gap > FAR * (high - low):
            return edge
    return None
