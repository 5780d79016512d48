"""He et al.'s initialisation."""

from __future__ import annotations

import math

from torch import Tensor

from normwise.initialize._layers import WeightedLayer


def he(layer: WeightedLayer) -> Tensor:
    """Draw from a normal distribution of standard deviation ``gain / sqrt(fan_in)``.

    Source: He et al., "Delving deep into rectifiers", 2015, equation 10; the gain is that of any activation
    f, ``1 / sqrt(E f(z)²)``, of which √2 for ReLU is a case.
    """
    return layer.normal() * (layer.gain / math.sqrt(layer.fan_in))
