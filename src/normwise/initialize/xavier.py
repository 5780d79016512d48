"""Glorot and Bengio's initialisation."""

from __future__ import annotations

import math

from torch import Tensor

from normwise.initialize._layers import WeightedLayer


def xavier(layer: WeightedLayer) -> Tensor:
    """Draw from a normal distribution of standard deviation ``sqrt(2 / (fan_in + fan_out))``.

    Source: Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    2010, equation 12: of that variance; the paper draws uniformly (equation 16), and has no gain.
    """
    return layer.normal() * math.sqrt(2 / (layer.fan_in + layer.fan_out))
