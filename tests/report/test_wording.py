from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from normwise.report.scorecard import scorecard
from normwise.report.wording import claim_list, say, tone
from normwise.results import Claim, Comparison, Estimate, Interval, Setting

CLAIM = Claim(
    "generalizes",
    "batch",
    "yes",
    "leaning",
    Estimate(1.6, Interval(0.8, 2.4), 5, "pp"),
    baseline_value=95.0,
    variant_value=96.6,
)


@pytest.fixture
def setting(setting_of: Callable[..., Setting]) -> Setting:
    return setting_of("mlp", ("none", "batch"))


def test_a_yes_tells_effect_sides_interval_and_strength(setting: Setting, comparison: Comparison) -> None:
    assert say(CLAIM, setting, comparison.data) == (
        "batch is better than none on test accuracy: +1.6 pp "
        "(mean 96.6% against 95.0%; 95% interval 0.8 to 2.4 pp; leaning, 5 pairs)."
    )


@pytest.mark.parametrize(
    ("verdict", "beginning"),
    [
        ("yes", "batch is better than none"),
        ("no", "batch is worse than none"),
        ("undecided", "Undecided whether batch is better than none"),
        ("no difference", "batch and none do not differ in test accuracy, within the margin"),
        ("not measured", "Not measured whether batch is better than none"),
    ],
)
def test_every_verdict_has_its_own_head(
    verdict: str, beginning: str, setting: Setting, comparison: Comparison
) -> None:
    text = say(replace(CLAIM, verdict=verdict), setting, comparison.data)
    assert text.startswith(beginning)
    assert ("no difference" in text or "do not differ" in text) == (verdict == "no difference")


def test_undecided_prints_what_it_could_have_seen_and_the_seeds_needed(
    setting: Setting, comparison: Comparison
) -> None:
    claim = replace(CLAIM, verdict="undecided", strength="", smallest_detectable=1.4, seeds_needed=23)
    text = say(claim, setting, comparison.data)
    assert "5 pairs show four times in five is 1.4 pp" in text
    assert "about 23 seeds: add --seeds 23" in text
    hopeless = say(replace(claim, seeds_needed=None), setting, comparison.data)
    assert "more seeds would not decide it" in hopeless
    assert "--seeds" not in hopeless


def test_a_slow_down_turns_ratio_and_bound_round(setting: Setting, comparison: Comparison) -> None:
    effect = Estimate(0.5, Interval(None, 0.8), 5, "x", "at most")
    claim = replace(
        CLAIM, claim="faster", verdict="no", effect=effect, baseline_value=40.0, variant_value=None
    )
    text = say(claim, setting, comparison.data)
    assert "at least 2.0× the steps" in text
    assert "not reached against 40 steps" in text
    assert "95% interval up to 0.80×" in text


@pytest.mark.parametrize("bound", ["at least", "at most"])
def test_a_bound_is_spoken(bound: str, setting: Setting, comparison: Comparison) -> None:
    effect = Estimate(1.0, Interval(0.5, None), 5, "decades", bound)
    claim = replace(CLAIM, claim="larger_learning_rates", effect=effect, reason="the grid ends there")
    text = say(claim, setting, comparison.data)
    assert f"{bound} 1 decade" in text
    assert text.endswith("The grid ends there.")
    card = scorecard(replace(setting, claims=(claim,)), comparison.data, {})
    assert card.rows[0].cells[0].number == {"at least": "≥ 1", "at most": "≤ 1"}[bound]
    assert card.columns[0].unit == "decades"


def test_a_reason_explains_what_is_not_measured(setting: Setting, comparison: Comparison) -> None:
    nothing = Estimate(None, Interval(None, None), 0, "x")
    claim = replace(
        CLAIM, claim="cost", verdict="not measured", effect=nothing, reason="the machine was busy"
    )
    text = say(claim, setting, comparison.data)
    whether = "Not measured whether a training step takes longer with batch than with none"
    assert text == f"{whether}: the machine was busy."


def test_costing_more_is_not_welcome() -> None:
    assert tone(CLAIM) == "good"
    assert tone(replace(CLAIM, claim="cost")) == "bad"
    assert tone(replace(CLAIM, claim="cost", verdict="no")) == "good"
    assert tone(replace(CLAIM, verdict="undecided")) == "open"


def test_evidence_is_told_once(setting: Setting, comparison: Comparison) -> None:
    evidence = {
        "fastest_ratio": 3.0,
        "fixed_ratio": 1.25,
        "fixed_low": 1.1,
        "fixed_high": 1.4,
        "seconds_ratio": None,
        "probability_of_superiority": 0.9,
        "sign_flip_p": 0.0625,
        "variant_missed": 0.0,
        "baseline_missed": 2.0,
    }
    claim = replace(CLAIM, claim="faster", effect=Estimate(3.0, Interval(2, 4), 5, "x"), evidence=evidence)
    text = say(claim, setting, comparison.data)
    assert "ahead in 90% of pairs" in text
    assert text.endswith(
        "At the learning rate of none: 1.25× (1.10× to 1.40×); "
        "2 of 5 runs of none missed the target and count with their whole length."
    )


def test_learning_rates_and_slopes_are_told_as_they_are(setting: Setting, comparison: Comparison) -> None:
    rates = replace(CLAIM, claim="larger_learning_rates", baseline_value=0.4217, variant_value=3.0)
    assert "(up to 3 against 0.42;" in say(rates, setting, comparison.data)
    evidence = {"baseline_start he ×1": 0.93, "variant_start he ×1": 1.41, "variant_end he ×1": 2.0}
    slopes = say(replace(CLAIM, claim="gradients", evidence=evidence), setting, comparison.data)
    assert slopes.endswith("towards the input (1 is level): he ×1: 1.41 against 0.93.")


def test_every_claim_has_one_line_and_one_cell(comparison: Comparison) -> None:
    for setting in comparison.settings:
        lines = [line for group in claim_list(setting, comparison.data).groups for line in group.lines]
        assert {(line.claim, line.variant) for line in lines} == {
            (c.claim, c.variant) for c in setting.claims
        }
        card = scorecard(setting, comparison.data, {})
        assert [row.variant for row in card.rows] == [v.name for v in setting.variants if v.name != "none"]
        assert len(card.columns) == len(card.baseline_values) == 7
        assert all(len(row.cells) == 7 for row in card.rows)


def test_a_name_may_hold_braces(setting: Setting, comparison: Comparison) -> None:
    text = say(replace(CLAIM, variant="{b}atch"), setting, comparison.data)
    assert text.startswith("{b}atch is better than none")


def test_the_scorecard_shows_the_baseline_and_who_is_recommended(comparison: Comparison) -> None:
    card = scorecard(comparison.settings[0], comparison.data, {"none": 0, "batch": 1})
    assert (card.baseline, card.baseline_slot) == ("none", 0)
    assert card.baseline_values == ("127 steps", "0.42", "8.9", "0.07", "95.0%", "3.2", "0.31 ms")
    assert [row.variant for row in card.rows if row.recommended] == ["batch"]
    assert [row.slot for row in card.rows[:2]] == [1, None]
    assert card.rows[0].full == "Batch Normalization"


def test_a_first_look_tells_numbers_and_no_verdict(setting: Setting, comparison: Comparison) -> None:
    seen = replace(
        CLAIM, verdict="exploratory", strength="", effect=Estimate(1.6, Interval(0.8, 2.4), 3, "pp")
    )
    assert say(seen, setting, comparison.data) == (
        "batch against none, test result: +1.6 pp; mean 96.6% against 95.0% (seen in 3 seeds)."
    )
    looked = replace(setting, claims=(seen,))
    card = scorecard(looked, comparison.data, {})
    assert (card.rows[0].cells[0].glyph, card.rows[0].cells[0].word) == ("~", "seen")
    assert not card.rows[0].recommended
    assert "seen in 5 seeds" in card.key
    group = claim_list(looked, comparison.data).groups[0]
    assert (group.label, group.question) == ("Test result", "")
