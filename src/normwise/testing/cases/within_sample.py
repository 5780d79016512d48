"""Normalizations within a sample that torch has not, and local response normalization."""

from __future__ import annotations

from functools import partial

from torch import nn

from normwise import layers as nw
from normwise.testing._case import LayerCase
from normwise.testing.cases._shapes import SHAPES


def cases() -> dict[str, LayerCase]:
    """Every class over its ranks, and the options that change what is computed; name → case."""
    found: dict[str, LayerCase] = {}
    for rank, shape in SHAPES.items():
        found[f"FilterResponseNorm{rank}d"] = LayerCase(
            partial(getattr(nw, f"FilterResponseNorm{rank}d"), 6), shape
        )
        found[f"EvoNorm{rank}dS0"] = LayerCase(partial(getattr(nw, f"EvoNorm{rank}dS0"), 6, groups=2), shape)
        response = getattr(nw, f"GlobalResponseNorm{rank}d")
        found[f"GlobalResponseNorm{rank}d"] = LayerCase(partial(response, 6), shape)
        last = (shape[0], *shape[2:], 6)
        found[f"GlobalResponseNorm{rank}d, channels last"] = LayerCase(
            partial(response, 6, channels_last=True), last
        )
        found[f"DynamicTanh{rank}d"] = LayerCase(partial(getattr(nw, f"DynamicTanh{rank}d"), 6), shape)
        found[f"LocalResponseNorm, {rank}d"] = LayerCase(
            partial(nw.LocalResponseNorm, 3, alpha=0.5), shape, partial(nn.LocalResponseNorm, 3, alpha=0.5)
        )
    plane, flat = SHAPES[2], (4, 6)
    found["FilterResponseNorm1d, flat, learnable eps"] = LayerCase(
        partial(nw.FilterResponseNorm1d, 6, learnable_eps=True), flat
    )
    found["FilterResponseNorm2d, no threshold"] = LayerCase(
        partial(nw.FilterResponseNorm2d, 6, threshold=False), plane
    )
    found["EvoNorm1dS0, flat"] = LayerCase(partial(nw.EvoNorm1dS0, 6, groups=3), flat)
    found["ScaleNorm"] = LayerCase(partial(nw.ScaleNorm, 5), SHAPES[1])
    found["DynamicTanh"] = LayerCase(partial(nw.DynamicTanh, 5), SHAPES[1])
    found["DynamicTanh, two axes"] = LayerCase(partial(nw.DynamicTanh, (6, 5)), SHAPES[1])
    found["DynamicTanh2d, no bias"] = LayerCase(partial(nw.DynamicTanh2d, 6, bias=False), plane)
    found["LocalResponseNorm, even size, k"] = LayerCase(
        partial(nw.LocalResponseNorm, 4, alpha=0.5, beta=0.5, k=2.0),
        plane,
        partial(nn.LocalResponseNorm, 4, alpha=0.5, beta=0.5, k=2.0),
    )
    return found
