"""Which variant has which color, dash and marker, and which variants a figure shows.

Colors are Okabe & Ito's, with lighter twins for a dark page; dash and marker say the same without color.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from normwise.report.figure import LegendEntry
from normwise.results import Comparison, Setting, VariantResult

CURVES = 7
"""More curves than this in one figure cannot be told apart."""


@dataclass(frozen=True)
class Slot:
    """The signs of one variant: color on a light and a dark page, dash lengths, marker."""

    light: str
    dark: str
    dash: tuple[float, ...]
    marker: str
    outline: str  # the marker as an SVG path around (0, 0)
    extra: float = 0.0  # what a thin marker needs in size to weigh as much as the others


_CIRCLE = "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z"
SLOTS: tuple[Slot, ...] = (
    Slot("#5b6069", "#b4bac4", (), "o", _CIRCLE),
    Slot("#0072b2", "#4ba8e8", (), "s", "M-2.8-2.8h5.6v5.6h-5.6z"),
    Slot("#d55e00", "#ff8a3d", (5, 1.6), "^", "M0-3.6L3.4 2.8H-3.4z"),
    Slot("#00875f", "#2fc79a", (1.4, 1.4), "D", "M0-3.8L3.8 0L0 3.8L-3.8 0z"),
    Slot("#b8588f", "#e59ac6", (5, 1.4, 1.2, 1.4), "v", "M0 3.6L3.4-2.8H-3.4z"),
    Slot(
        "#c48a00", "#f2bd3a", (8, 2), "P", "M-1.2-3.6h2.4v2.4h2.4v2.4h-2.4v2.4h-2.4v-2.4h-2.4v-2.4h2.4z", 1.6
    ),
    Slot(
        "#3a9bd0",
        "#8fd3ff",
        (3, 1.2, 1.2, 1.2, 1.2, 1.2),
        "X",
        "M-3.4-2L-2-3.4L0-1.4L2-3.4L3.4-2L1.4 0L3.4 2L2 3.4L0 1.4L-2 3.4L-3.4 2L-1.4 0z",
        1.2,
    ),
    Slot("#7a4fb5", "#b993ee", (2.6, 1.4), "p", "M0-3.6L3.4-1.1L2.1 2.9H-2.1L-3.4-1.1z"),
)

_KNOWN = {"none": 0, "batch": 1, "layer": 2, "group": 3, "instance": 4, "weight": 5, "rms": 6}


def shown(setting: Setting) -> tuple[VariantResult, ...]:
    """Return the variants that figures show: baseline, recommended one and largest effects, in their order."""
    if len(setting.variants) <= CURVES:
        return setting.variants

    advised = "" if setting.recommendation is None else setting.recommendation.variant

    def weight(variant: VariantResult) -> float:
        if variant.name in (setting.baseline, advised):
            return math.inf
        sizes = [
            abs(claim.effect.value) / (claim.smallest_detectable or 1)
            for claim in setting.claims
            if claim.variant == variant.name
            and claim.claim == "generalizes"
            and claim.effect.value is not None
        ]
        speeds = [
            abs(math.log(claim.effect.value))
            for claim in setting.claims
            if claim.variant == variant.name and claim.claim == "faster" and (claim.effect.value or 0) > 0
            if claim.effect.value is not None
        ]
        return sum(sizes) + sum(speeds)

    kept = sorted(setting.variants, key=weight, reverse=True)[:CURVES]
    names = {variant.name for variant in kept}
    return tuple(variant for variant in setting.variants if variant.name in names)


def left_out(setting: Setting) -> str:
    """Say which variants the figures of a setting leave out; "" if none."""
    names = {variant.name for variant in shown(setting)}
    missing = [variant.name for variant in setting.variants if variant.name not in names]
    if not missing:
        return ""
    return f"Not drawn, but in every table: {', '.join(missing)}."


def assign(comparison: Comparison) -> dict[str, dict[str, int]]:
    """Give every shown variant of every setting a slot: the same one in all settings while eight suffice."""
    groups = {setting.name: [variant.name for variant in shown(setting)] for setting in comparison.settings}
    everything = list(dict.fromkeys(name for names in groups.values() for name in names))
    if len(everything) <= len(SLOTS):
        slots = _assign(everything)
        return {key: {name: slots[name] for name in names} for key, names in groups.items()}
    return {key: _assign(names) for key, names in groups.items()}


def _assign(names: list[str]) -> dict[str, int]:
    slots = {name: _KNOWN[name] for name in names if name in _KNOWN}
    free = [slot for slot in range(len(SLOTS)) if slot not in slots.values()]
    for name in names:
        if name not in slots:
            slots[name] = free.pop(0)
    return slots


def legend(setting: Setting, slots: dict[str, int]) -> tuple[LegendEntry, ...]:
    """Return the legend that all figures of a setting share."""
    return tuple(LegendEntry(variant.name, slots[variant.name]) for variant in shown(setting))
