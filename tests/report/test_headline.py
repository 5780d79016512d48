from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from normwise.report.headline import headline, tab_words
from normwise.results import Claim, Comparison, Estimate, Interval, Setting

NOTHING = Interval(None, None)


def claim(name: Any, verdict: Any, value: float | None, unit: str, **more: Any) -> Claim:
    strength: Any = "meaningful" if verdict in ("yes", "no") else ""
    fields = {"strength": strength, "bound": "", "variant": "batch", "pairs": 12, **more}
    effect = Estimate(value, NOTHING, fields.pop("pairs"), unit, fields.pop("bound"))
    return Claim(name, fields.pop("variant"), verdict, fields.pop("strength"), effect, **fields)


FASTER = claim("faster", "yes", 2.1, "x", baseline_value=127.0, variant_value=60.0)
RATES = claim("larger_learning_rates", "yes", 1.0, "decades", baseline_value=0.1, variant_value=1.0)
OPEN = claim("generalizes", "undecided", 0.3, "pp")


@pytest.fixture
def say(setting_of: Callable[..., Setting], comparison: Comparison) -> Callable[..., str]:
    def write(*claims: Claim, advised: str | None = "batch", **options: Any) -> str:
        names = ("none", *dict.fromkeys(c.variant for c in claims))
        setting = setting_of("mlp", names)
        advice = None if advised is None else replace(setting.recommendation, variant=advised)  # type: ignore[type-var]
        data = replace(comparison.data, name="churn", **options.pop("data", {}))
        setting = replace(setting, claims=claims, recommendation=advice, **options.pop("setting", {}))
        return headline(setting, data, **options)

    return write


def test_the_answer_is_one_sentence(say: Callable[..., str]) -> None:
    assert say(FASTER, RATES, OPEN) == (
        "On churn, with this MLP, Batch Normalization trains about twice as fast (2.1×) and tolerates a far larger "
        "learning rate (1 against 0.1); whether it predicts better is undecided."
    )


def test_fewer_than_ten_pairs_lean(say: Callable[..., str]) -> None:
    weak = [replace(c, strength="leaning", effect=replace(c.effect, pairs=5)) for c in (FASTER, RATES)]
    assert "(1 against 0.1) – five seeds: leaning; whether" in say(*weak, OPEN)
    mixed = say(FASTER, weak[1], OPEN)
    assert "(1 against 0.1; leaning)" in mixed
    assert "(2.1×)" in mixed
    assert "leaning" not in say(FASTER, RATES, OPEN)


def test_speed_promises_no_more_than_the_clock(say: Callable[..., str]) -> None:
    slower = replace(FASTER, evidence={"seconds_ratio": 1.5})
    assert "about one and a half times as fast (2.1× in steps, 1.5× in seconds)" in say(slower)
    eaten = replace(FASTER, evidence={"seconds_ratio": 0.9})
    assert "needs fewer steps to the target but no less time (2.1× in steps, 0.90× in seconds)" in say(eaten)
    bounded = replace(FASTER, effect=replace(FASTER.effect, bound="at least"))
    assert "trains faster (at least 2.1×)" in say(bounded)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1.2, "somewhat faster"),
        (1.6, "one and a half"),
        (2.5, "three times"),
        (9.9, "ten times"),
        (14.0, "more than"),
    ],
)
def test_ratios_have_words(value: float, words: str, say: Callable[..., str]) -> None:
    assert words in say(replace(FASTER, effect=replace(FASTER.effect, value=value)))


def test_what_is_worse_and_what_it_costs_is_told(say: Callable[..., str]) -> None:
    worse = claim("generalizes", "no", -1.8, "pp", baseline_value=95.0, variant_value=93.2)
    text = say(FASTER, worse, claim("cost", "yes", 1.4, "x"))
    assert "but predicts worse (test accuracy 93.2% against 95.0%); each step takes 1.40× the time." in text


def test_lower_is_better_reads_the_same_way(say: Callable[..., str]) -> None:
    data = {"metric": "RMSE", "metric_unit": "units of price", "higher_is_better": False}
    better = claim("generalizes", "yes", 2.0, "units of price", baseline_value=56.1, variant_value=54.1)
    assert "predicts better (test RMSE 54.1 against 56.1)" in say(better, data=data)


def test_no_difference_and_not_measured_are_not_undecided(say: Callable[..., str]) -> None:
    same = claim("generalizes", "no difference", 0.1, "pp")
    assert "it predicts equally well, within ±0.5 pp" in say(FASTER, same)
    missing = claim("generalizes", "not measured", None, "pp")
    assert "whether it predicts better was not measured" in say(FASTER, missing)


def test_nothing_decided_is_said_plainly(say: Callable[..., str]) -> None:
    slow = replace(FASTER, verdict="undecided", strength="")
    assert say(slow, OPEN, advised="none") == (
        "On churn, with this MLP, nothing is decided on twelve seeds: Batch Normalization is not shown to do better or "
        "worse than the plain network."
    )
    assert "nothing is decided" in say(slow, OPEN, advised=None)


def test_a_recommended_baseline_says_that_nothing_beats_it(say: Callable[..., str]) -> None:
    slow = claim("faster", "no", 0.5, "x")
    other = replace(OPEN, variant="layer")
    assert say(slow, other, advised="none").endswith(
        "nothing beats the plain network: none of the two variants is shown to train faster or to predict better."
    )
    worse = claim("generalizes", "no", -1.8, "pp")
    text = say(FASTER, worse, advised="none")
    assert (
        "nothing beats the plain network on the whole: Batch Normalization trains about twice as fast" in text
    )
    assert "but predicts worse" in text


def test_another_baseline_is_named(say: Callable[..., str], setting_of: Callable[..., Setting]) -> None:
    text = say(FASTER, setting={"baseline": "layer"})
    assert "with this MLP, and against Layer Normalization, Batch Normalization trains" in text


def test_gradients_alone_are_better_than_nothing(say: Callable[..., str]) -> None:
    level = claim("gradients", "yes", 0.5, "decades per layer")
    assert "keeps gradients more level over depth" in say(level, OPEN)
    assert "gradients" not in say(FASTER, level)


def test_without_a_claim_the_reason_is_told(say: Callable[..., str]) -> None:
    assert say(advised=None).endswith("nothing can be said: there is no variant beside the baseline.")
    missing = claim("faster", "not measured", None, "x")
    assert say(missing).endswith("nothing can be said: too few trials have finished.")


def test_the_scan_alone_is_no_answer(
    say: Callable[..., str], setting_of: Callable[..., Setting], comparison: Comparison
) -> None:
    setting = setting_of("mlp", ("none", "batch"))
    unknown = {"train": None, "validation": None, "test": None, "diverged": False}
    variants = tuple(
        replace(v, final=tuple(replace(e, **unknown) for e in v.final)) for v in setting.variants
    )
    scanned = replace(setting, variants=variants, recommendation=None)
    assert headline(scanned, comparison.data).endswith("nothing can be said yet: no fresh seed has finished.")
    assert tab_words(scanned) == "nothing measured"


def test_a_first_look_has_no_verdict(say: Callable[..., str]) -> None:
    seen = [
        replace(c, verdict="exploratory", strength="", effect=replace(c.effect, pairs=3))
        for c in (FASTER, RATES)
    ]
    text = say(*seen, exploratory=True)
    assert "60 against 127 steps, usable learning rates up to 1 against 0.1, seen in three seeds" in text
    assert not any(word in text for word in ("yes", "better", "worse", "leaning", "undecided", "faster"))


def test_tabs_carry_a_few_words(setting_of: Callable[..., Setting]) -> None:
    setting = setting_of("mlp", ("none", "batch"))
    assert tab_words(setting) == "Batch Normalization: 3.1× faster"
    assert tab_words(setting, exploratory=True) == "a first look"
    open_claims = tuple(replace(c, verdict="undecided") for c in setting.claims)
    advice = replace(setting.recommendation, variant="none")  # type: ignore[type-var]
    assert tab_words(replace(setting, claims=open_claims, recommendation=advice)) == "nothing decided"
    assert tab_words(replace(setting, recommendation=advice)) == "nothing beats the plain network"
    assert tab_words(replace(setting, claims=())) == "nothing measured"


def test_seeds_are_counted_where_they_are_fresh(comparison: Comparison) -> None:
    setting = comparison.settings[0]
    claims = tuple(
        replace(
            claim,
            verdict="undecided",
            strength="",
            effect=replace(claim.effect, pairs=5 if claim.claim == "larger_learning_rates" else 2),
        )
        for claim in setting.claims
    )
    said = headline(replace(setting, claims=claims, recommendation=None), comparison.data)
    assert "two seeds" in said
    assert "five seeds" not in said
