"""Every variant that a figure shows has signs of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from normwise.norms import COMPARED, KINDS
from normwise.report.names import full_name
from normwise.report.palette import CURVES, SLOTS, assign, left_out, shown
from normwise.results import Comparison, Setting

NAMES = tuple(KINDS)


@pytest.mark.parametrize("first", range(len(NAMES) - CURVES + 2))
def test_variants_that_are_shown_have_signs_of_their_own(
    first: int, comparison: Comparison, setting_of: Callable[..., Setting]
) -> None:
    names = ("none", *(name for name in NAMES[first:] if name != "none"))[:CURVES]
    setting = setting_of("mlp", names)
    slots = assign(replace(comparison, settings=(setting,)))[setting.name]
    assert set(slots) == set(names)
    assert len(set(slots.values())) == len(names)
    assert all(0 <= slot < len(SLOTS) for slot in slots.values())


def test_the_default_ones_have_the_same_signs_in_every_report(
    comparison: Comparison, setting_of: Callable[..., Setting]
) -> None:
    alone = assign(replace(comparison, settings=(setting_of("mlp", COMPARED),)))["mlp"]
    beside = setting_of("mlp", ("none", "ghost:16", "evonorm_b0", "batch", "rms", "scale"))
    others = assign(replace(comparison, settings=(beside,)))["mlp"]
    assert all(others[name] == alone[name] for name in ("none", "batch", "rms"))


def test_all_at_once_are_in_the_tables_and_the_first_ones_drawn(
    comparison: Comparison, setting_of: Callable[..., Setting]
) -> None:
    setting = setting_of("cnn", NAMES)
    drawn = [variant.name for variant in shown(setting)]
    assert len(drawn) == CURVES
    assert "none" in drawn
    assert all(name in drawn or name in left_out(setting) for name in NAMES)
    assert len({full_name(name) for name in NAMES}) == len(NAMES)
