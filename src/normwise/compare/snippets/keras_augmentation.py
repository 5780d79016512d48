"""Augmentation as Keras layers, as far as Keras has the same."""

from __future__ import annotations

from collections.abc import Sequence

from normwise.augment import build_both
from normwise.compare.snippets.text import number


def augmentation_layers(specs: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """The layers in the order in which a policy works, and the names of operations that Keras does not have."""
    layers: list[str] = []
    missing: list[str] = []
    policy, mix = build_both(specs)
    for name, magnitude in policy.magnitudes:
        m = number(magnitude)
        if name == "flip" and magnitude == 0.5:  # Keras flips with that probability and no other
            layers.append('layers.RandomFlip("horizontal")')
        elif name == "scale":  # Keras's factor is of the window: 1 / magnification − 1
            layers.append(f'layers.RandomZoom(({number(1 / (1 + magnitude) - 1)}, {m}), fill_mode="nearest")')
        elif name == "rotate":
            layers.append(f'layers.RandomRotation({m} / 360, fill_mode="nearest")')
        elif name == "shift":
            layers.append(f'layers.RandomTranslation({m}, {m}, fill_mode="nearest")')
        elif name == "noise":
            layers.append(f"layers.GaussianNoise({m})")
        else:
            missing.append(name)
    missing += [mix.name] if mix is not None else []
    order = ("RandomFlip", "RandomZoom", "RandomRotation", "RandomTranslation", "GaussianNoise")
    layers.sort(key=lambda text: next(i for i, name in enumerate(order) if name in text))
    return layers, tuple(missing)
