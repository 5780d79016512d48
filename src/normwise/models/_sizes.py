"""Checks of the numbers that a network is described by."""

from __future__ import annotations

from collections.abc import Sequence

from normwise.errors import ArgumentError, explain


def check_sizes(who: str, name: str, sizes: Sequence[int]) -> tuple[int, ...]:
    """Return `sizes` as a tuple, or raise if one of them is no positive integer."""
    if not all(isinstance(size, int) and not isinstance(size, bool) and size >= 1 for size in sizes):
        raise ArgumentError(explain(who, f"`{name}` must be integers of at least 1", repr(sizes)))
    return tuple(sizes)
