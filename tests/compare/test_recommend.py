"""Which variant is recommended, from claims whose verdicts are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from normwise.compare.analysis.evidence import Evidence
from normwise.compare.analysis.recommend import recommend
from normwise.compare.measures import MEASURES
from normwise.compare.plan import Plan, Trial
from normwise.results import Claim, Estimate, Interval, Recommendation, TrialRecord

Verdicts = Mapping[str, Mapping[str, tuple[str, float]]]
Recommended = Callable[..., Recommendation]


@pytest.fixture
def recommended(
    make_plan: Callable[..., Plan],
    make_record: Callable[..., TrialRecord],
    fill: Callable[..., dict[str, TrialRecord]],
) -> Recommended:
    """The recommendation among none, batch and layer; claims as variant → claim → (verdict, effect)."""

    def run(
        verdicts: Verdicts, *, exploratory: bool = False, diverging: tuple[str, ...] = (), **fields: Any
    ) -> Any:
        plan = make_plan(norms=("none", "batch", "layer"), seeds=2, **fields)

        def make(trial: Trial) -> TrialRecord:
            outcome = "diverged" if trial.variant.name in diverging else "finished"
            return make_record(trial.key, outcome=outcome)

        records = fill(plan, make)
        tuning = plan.tune(records)
        assert tuning is not None
        claims = [
            Claim(name, variant, verdict, "", Estimate(effect, Interval(None, None), 5, ""))  # type: ignore[arg-type]
            for variant, lines in verdicts.items()
            for name, (verdict, effect) in lines.items()
        ]
        evidence = Evidence(plan, tuning, MEASURES["accuracy"], records, None, exploratory)
        return recommend(
            evidence, claims, margin=0.5, in_shape=(13,), out_features=3, classes=("a", "b", "c")
        )

    return run


@pytest.mark.parametrize(
    ("verdicts", "variant", "words"),
    [
        ({}, "none", "nothing is decided"),
        ({"batch": {"generalizes": ("undecided", 9.0)}}, "none", "nothing is decided"),
        (
            {"batch": {"faster": ("yes", 3.0)}, "layer": {"generalizes": ("yes", 0.8)}},
            "layer",
            "better on test than none",
        ),
        (
            {"batch": {"faster": ("yes", 3.0)}, "layer": {"faster": ("yes", 2.0)}},
            "batch",
            "reaches the target in fewer steps, and is not shown to be worse",
        ),
        # Whoever is worse on test, decided or by the look of it, trains well for nothing.
        ({"batch": {"faster": ("yes", 3.0), "generalizes": ("no", -2.0)}}, "none", "without looking worse"),
        (
            {"batch": {"faster": ("yes", 3.0), "generalizes": ("undecided", -2.0)}},
            "none",
            "without looking worse",
        ),
        (
            {"batch": {"initialization": ("yes", 3.0), "faster": ("no", 0.4)}},
            "none",
            "no other variant is shown",
        ),
    ],
)
def test_the_variant_that_the_claims_speak_for(
    recommended: Recommended, verdicts: Verdicts, variant: str, words: str
) -> None:
    found = recommended(verdicts)
    assert found.variant == variant
    assert words in found.reason
    assert {snippet.framework for snippet in found.snippets} == {"PyTorch", "Keras"}


def test_where_regularizers_are_asked_about_the_gap_counts_and_not_the_speed(
    recommended: Recommended,
) -> None:
    verdicts = {
        "batch": {"faster": ("yes", 3.0)},
        "layer": {"regularizes": ("yes", 1.0), "generalizes": ("undecided", 0.1)},
    }
    assert recommended(verdicts, study="regularize").variant == "layer"
    assert recommended(verdicts).variant == "batch"


def test_a_first_look_names_the_best_and_decides_nothing(recommended: Recommended) -> None:
    found = recommended({"batch": {"generalizes": ("exploratory", 2.0)}}, exploratory=True)
    assert (found.variant, found.reason) == (
        "batch",
        "the best test metric of this first look, which decides nothing",
    )


def test_what_never_trained_is_not_recommended(recommended: Recommended) -> None:
    assert recommended({"batch": {"faster": ("yes", 3.0)}}, diverging=("batch",)).variant == "none"
    assert recommended({}, diverging=("none", "batch", "layer")) is None
