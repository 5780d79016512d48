"""What goes first when time is short, and what never goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from normwise.compare.budget import FEWEST_STEPS, Fitted, fit
from normwise.compare.check import Prepared, prepare
from normwise.compare.forecast import Timing, Timings, _key, trainings
from normwise.compare.spec import make_spec

Narrow = Callable[..., Fitted]


@pytest.fixture
def fitted() -> Narrow:
    """Fit a question about wine whose every step takes a millisecond, and nothing else anything."""

    def narrow(budget: float | None, *, strict: bool = False, **fields: Any) -> Fitted:
        prepared = prepare(make_spec({"data": "wine", "probe": False, "references": False} | fields))
        return fit(prepared, timings(prepared), budget, strict=strict)

    return narrow


def timings(prepared: Prepared) -> Timings:
    step = Timing(set_up=0.0, step=0.001, look=0.0, last=0.0, signals=0.0)
    of = {_key(plan.ground, variant): step for plan in prepared.plans for variant in plan.variants}
    return Timings(of, split=0.0, references=0.0, workers=1)


def names(fitted: Fitted) -> list[str]:
    return [variant.name for variant in fitted.prepared.plans[0].variants]


def test_without_a_limit_or_with_enough_time_nothing_goes(fitted: Narrow) -> None:
    whole = fitted(None)
    assert whole.shed == ()
    assert whole.fits
    assert fitted(whole.seconds + 1).shed == ()
    (plan,) = whole.prepared.plans
    assert whole.seconds == pytest.approx(4 + 6 * (trainings(plan) * 0.25 + 15 * 12 * 0.001), rel=0.01)


def test_initializations_go_first_then_variants_then_steps_and_never_seeds(fitted: Narrow) -> None:
    whole = fitted(None)
    left = fitted(whole.seconds - 0.5)
    assert left.shed == ("initialization he ×0.1",)
    assert names(left) == names(whole)

    fewer = fitted(left.seconds - 0.5)
    assert fewer.shed == ("initialization he ×0.1", "variant weight")
    assert names(fewer) == ["none", "batch", "layer", "group", "rms"]

    shortest = fitted(4.0 + 4.0)
    assert names(shortest) == ["none", "batch"]
    steps = shortest.prepared.plans[0].ground.steps
    assert FEWEST_STEPS <= steps < 250
    assert shortest.shed[-1] == f"{steps} steps instead of 250"
    assert shortest.fits
    assert {f.prepared.spec.seeds for f in (whole, left, fewer, shortest)} == {5}


def test_what_does_not_fit_is_said_and_not_shortened_beyond_use(fitted: Narrow) -> None:
    hopeless = fitted(1.0)
    assert not hopeless.fits
    assert hopeless.prepared.plans[0].ground.steps == FEWEST_STEPS
    assert hopeless.prepared.spec.seeds == 5


def test_what_was_asked_for_by_name_stays_unless_the_budget_was_asked_for_too(fitted: Narrow) -> None:
    asked: dict[str, Any] = {
        "norms": ["none", "batch", "rms"],
        "initializations": [{"scheme": "he"}, {"scheme": "xavier"}],
        "steps": 500,
    }
    kept = fitted(5.0, **asked)
    assert kept.shed == ()
    assert not kept.fits
    shed = fitted(5.0, strict=True, **asked)
    assert names(shed) == ["none", "batch"]
    assert [init.name for init in shed.prepared.spec.initializations] == ["he ×1"]
    assert shed.prepared.plans[0].ground.steps == FEWEST_STEPS


def test_the_baseline_stays_whatever_it_is(fitted: Narrow) -> None:
    left = fitted(6.0, strict=True, norms=["none", "batch", "weight"], baseline="weight")
    assert "weight" in names(left)
    assert len(names(left)) == 2


def test_a_study_says_what_goes_first(fitted: Narrow) -> None:
    whole = fitted(None, study="init")
    left = fitted(whole.seconds - 0.1, study="init")
    assert set(names(whole)) - set(names(left)) == {"he ×0.3"}


def test_epochs_become_steps_when_they_are_too_many(fitted: Narrow) -> None:
    left = fitted(10.0, strict=True, epochs=1000)
    assert left.prepared.spec.epochs is None
    assert left.prepared.spec.steps is not None
    assert left.fits
