"""Inputs of the cases: two samples or more, odd sizes, small."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

SHAPES: dict[int, tuple[int, ...]] = {1: (3, 6, 5), 2: (3, 6, 4, 5), 3: (2, 6, 2, 3, 4)}
"""Number of axes of positions → shape, with six channels."""

Make = Callable[[], nn.Module]
