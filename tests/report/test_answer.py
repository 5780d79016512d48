from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from normwise.report import build
from normwise.report.document import Answer
from normwise.results import Comparison, MoreSeeds, ReferenceResult, Setting


def first(comparison: Comparison) -> Answer:
    return build(comparison).answers[0]


def test_what_to_do_is_code_for_both_frameworks(comparison: Comparison) -> None:
    advice = first(comparison).advice
    assert advice is not None
    assert advice.text == (
        "Batch Normalization, learning rate 0.1 (SGD with momentum 0.9). Reaches the target in 3.1× fewer steps."
    )
    assert [tab.name for tab in advice.tabs] == ["PyTorch", "Keras"]
    assert "nn.BatchNorm1d(64)" in advice.tabs[0].text
    assert advice.tabs[1].note == "Keras counts its momentum the other way round."


def test_a_recommended_baseline_is_kept(comparison: Comparison) -> None:
    setting = comparison.settings[0]
    assert setting.recommendation is not None
    advised = replace(setting, recommendation=replace(setting.recommendation, variant="none"))
    advice = first(replace(comparison, settings=(advised,))).advice
    assert advice is not None
    assert advice.text.startswith("Keep the plain network, learning rate 0.1")


def test_more_seeds_come_as_a_command(comparison: Comparison) -> None:
    more = first(comparison).more
    assert more is not None
    assert more.command.endswith("--seeds 23")
    assert more.text == (
        "23 seeds would decide weight (faster), layer (better on test) and group (better on test), if the effects are "
        "as large as they look:"
    )


def test_seeds_are_told_of_the_setting_that_they_would_decide(comparison: Comparison) -> None:
    mlp, cnn = comparison.settings

    def needing(seeds: int, setting: Setting) -> Setting:
        claims = tuple(
            replace(c, verdict="undecided", seeds_needed=seeds) if c.claim == "generalizes" else c
            for c in setting.claims
            if c.variant == "batch" and c.claim in ("faster", "generalizes")
        )
        return replace(setting, claims=claims)

    more = MoreSeeds("normwise compare digits --seeds 14", 14, ("generalizes: batch",))
    changed = replace(comparison, settings=(needing(480, mlp), needing(14, cnn)), more_seeds=more)
    far, near = (answer.more for answer in build(changed).answers)
    assert far is not None
    assert near is not None
    assert far.text == (
        "About 480 seeds would be needed to decide anything: batch (better on test), if the effect is as large as "
        "it looks."
    )
    assert far.command == ""
    assert near.text.startswith("14 seeds would decide batch (better on test), if")
    assert build(changed).more() == near


def test_a_long_list_of_what_would_be_decided_is_counted(comparison: Comparison) -> None:
    many = MoreSeeds("normwise", 9, tuple(f"faster: v{i}" for i in range(7)))
    more = first(replace(comparison, settings=comparison.settings[:1], more_seeds=many)).more
    assert more is not None
    assert "v3 (faster) and 3 more" in more.text
    assert "v4" not in more.text


def test_without_a_command_it_is_said_that_more_seeds_do_not_help(comparison: Comparison) -> None:
    setting = comparison.settings[0]
    hopeless = replace(setting, claims=tuple(replace(c, seeds_needed=None) for c in setting.claims))
    more = first(replace(comparison, settings=(hopeless,), more_seeds=None)).more
    assert more is not None
    assert more.text == "More seeds would not decide what is undecided here."
    assert more.command == ""
    decided = replace(
        comparison.settings[0],
        claims=tuple(c for c in comparison.settings[0].claims if c.verdict != "undecided"),
    )
    assert first(replace(comparison, settings=(decided,), more_seeds=None)).more is None


def test_learning_rates_without_curves_are_titled_in_full(comparison: Comparison) -> None:
    setting = comparison.settings[0]
    blank = (None,) * len(setting.variants[0].validation_curve.steps)
    variants = tuple(
        replace(v, validation_curve=replace(v.validation_curve, median=blank)) for v in setting.variants
    )
    answer = first(replace(comparison, settings=(replace(setting, variants=variants),)))
    assert answer.curves is None
    assert answer.rates is not None
    assert answer.rates.title == "Validation accuracy over learning rates (%)"


def test_small_figures_show_the_records(comparison: Comparison) -> None:
    answer = first(comparison)
    assert answer.curves is not None
    assert answer.rates is not None
    variant = comparison.settings[0].variants[1]
    by_name = {series.name: series for series in answer.curves.series}
    assert by_name["batch"].y == variant.validation_curve.median
    rates = {series.name: series for series in answer.rates.series}
    assert rates["batch"].y == tuple(point.median for point in variant.scan)
    # The variant that the sentence is about lies on top of the others.
    assert answer.curves.series[-1].name == "batch"


def test_a_line_that_ends_where_others_go_on_says_that_runs_diverged(comparison: Comparison) -> None:
    def label(*last: float | None) -> str:
        setting = comparison.settings[0]
        variants = tuple(
            replace(v, scan=(v.scan[0], replace(v.scan[-1], median=value, diverged=0 if value else 5)))
            for v, value in zip(setting.variants, last, strict=False)
        )
        rates = first(replace(comparison, settings=(replace(setting, variants=variants),))).rates
        assert rates is not None
        return rates.x_label

    assert label(None, 90.0) == "learning rate (diverged where a line ends)"
    assert label(80.0, 90.0) == "learning rate"
    assert label(None, None) == "learning rate"  # the rate is not on the axis


def _reference(comparison: Comparison, level: float) -> ReferenceResult:
    seeds = comparison.settings[0].seeds
    return ReferenceResult("gradient boosting", "trees", seeds, (level,) * len(seeds), level, 1.0)


def test_a_reference_that_is_clearly_ahead_is_told_at_once(comparison: Comparison) -> None:
    ahead = first(replace(comparison, references=(_reference(comparison, 99.9),))).aside
    assert ahead.startswith(
        "Gradient boosting does better than every network here: mean test accuracy 99.9% against "
    )
    assert first(replace(comparison, references=(_reference(comparison, 90.0),))).aside == ""
    assert first(replace(comparison, references=())).aside == ""


def test_a_lower_error_is_ahead_too(make: Callable[..., Comparison]) -> None:
    comparison = make(regression=True)
    ahead = first(replace(comparison, references=(_reference(comparison, 40.0),))).aside
    assert "does better than every network here: mean test RMSE 40 points against" in ahead
    assert first(replace(comparison, references=(_reference(comparison, 99.0),))).aside == ""


def test_a_network_that_learned_nothing_is_told(comparison: Comparison) -> None:
    def aside(level: float) -> str:
        trivial = replace(_reference(comparison, level), name="majority class")
        return first(replace(comparison, references=(trivial,))).aside

    assert aside(10.0) == ""
    assert aside(96.4).startswith(
        "No network here is shown to do better than the majority class: mean test accuracy 96.6% ("
    )
    assert aside(96.4).endswith(") against 96.4%.")


def test_within_the_margin_nothing_is_ahead(comparison: Comparison) -> None:
    best = max(
        sorted(end.test or 0.0 for end in variant.final)[len(variant.final) // 2]
        for setting in comparison.settings
        for variant in setting.variants
    )
    assert first(replace(comparison, references=(_reference(comparison, best + 0.4),))).aside == ""
