"""Remedies that were called proven, tried once more."""

from __future__ import annotations

from dataclasses import replace

from normwise.testing.faults import Case, faulty
from normwise.testing.faults.repair import random_remedy, repairs


def _case(name: str, steps: int) -> Case:
    found = next(case for case in faulty() if case.name.startswith(name))
    return Case(replace(found.program, steps=steps), found.fault)


def test_a_remedy_that_helps_helps_again() -> None:
    (repair, *_) = repairs(_case("norm-over-one-value/mlp", 20))
    assert (repair.code, repair.layer) == ("NW106", "head.norm_in")
    assert repair.again
    assert repair.gain > 0.2
    assert repair.beyond_random > 0.2


def test_a_remedy_without_effect_is_none() -> None:
    assert repairs(_case("bias-before-norm/mlp", 2)) == ()


def test_a_random_remedy_changes_one_thing() -> None:
    setup = _case("bias-before-norm/mlp", 2).edited().training.setup
    changed = random_remedy(setup, "text")
    assert changed.model is setup.model
    assert changed.loss is setup.loss
    fields = ("optimizer", "batch_size", "clip")
    assert sum(getattr(changed, name) != getattr(setup, name) for name in fields) == 1
