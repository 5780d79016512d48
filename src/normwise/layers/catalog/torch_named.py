"""The normalizations with torch's names, and the two that go over channels."""

from __future__ import annotations

from normwise.layers.catalog._entry import Entry

_RANKS = (1, 2, 3)

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "BatchNorm#d",
        "(x − μ) / sqrt(σ² + eps) · weight + bias, μ and σ² per channel over samples and positions",
        "Ioffe & Szegedy 2015",
        "Convolutional networks and perceptrons with batches of 16 samples or more.",
        "Reaches the same accuracy in a fraction of the steps (Ioffe & Szegedy 2015: 14 times fewer on ImageNet); below "
        "8 samples a batch its error grows (Wu & He 2018, figure 1), and evaluation differs from training.",
        "(N, C, *)",
        _RANKS,
        fused="BatchNormAct#d",
        kernel=True,
    ),
)
