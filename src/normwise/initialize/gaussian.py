"""A plain Gaussian."""

from __future__ import annotations

from torch import Tensor

from normwise.initialize._layers import WeightedLayer


def gaussian(layer: WeightedLayer) -> Tensor:
    """Draw from the standard normal distribution, whatever the layer's size: `scale` is the deviation.

    Source: Ioffe & Szegedy, "Batch normalization", 2015, section 4.1 ("small random Gaussian values").
    """
    return layer.normal()
