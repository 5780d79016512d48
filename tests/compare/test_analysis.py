"""What is concluded from records whose right answer is known because they were made up."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest

from normwise.compare.analysis import analyse
from normwise.compare.analysis.claims import claims
from normwise.compare.analysis.comparison import margin_of
from normwise.compare.analysis.curves import curve, slope
from normwise.compare.analysis.evidence import Evidence
from normwise.compare.cost import CostRecord
from normwise.compare.measures import MEASURES
from normwise.compare.plan import Plan, Trial
from normwise.compare.spec import SCAN_SEED_BASE, make_spec
from normwise.results import Claim, TrialRecord

MakePlan = Callable[..., Plan]
MakeRecord = Callable[..., TrialRecord]
Make = Callable[[Trial], TrialRecord]
Fill = Callable[[Plan, Make], dict[str, TrialRecord]]
Judge = Callable[..., dict[str, Claim]]
Gather = Callable[..., Evidence]


@pytest.fixture
def gather(make_plan: MakePlan, fill: Fill) -> Gather:
    """Evidence from a maker of records; fields are those of the question."""

    def collect(make: Make, *, bursts: tuple[float, ...] = (1.5, 1.5, 1.5), **fields: Any) -> Evidence:
        plan = make_plan(**{"seeds": 5, "lrs": (0.01, 0.1, 1.0)} | fields)
        records = fill(plan, make)
        tuning = plan.tune(records)
        assert tuning is not None
        names = tuple(variant.name for variant in plan.variants)
        base = (0.001, 0.002, 0.0015)
        scaled = tuple(tuple(factor * b for factor, b in zip(bursts, base, strict=True)) for _ in names[1:])
        return Evidence(
            plan,
            tuning,
            MEASURES[fields.get("metric", "accuracy")],
            records,
            CostRecord(names, (base, *scaled)),
        )

    return collect


@pytest.fixture
def judge(gather: Gather) -> Judge:
    """The claims about the one variant beside the baseline, by name."""

    def run(make: Make, *, margin: float = 0.5, **fields: Any) -> dict[str, Claim]:
        return {claim.claim: claim for claim in claims(gather(make, **fields), margin)}

    return run


def wobble(trial: Trial) -> float:
    """A little of each seed's own, that pairing takes out or the interval has to cover."""
    return 0.01 * (trial.seed % 5)


def is_batch(trial: Trial) -> bool:
    return trial.variant.name == "batch"


def test_twice_as_fast_in_each_seed_is_a_yes_of_two(judge: Judge, make_record: MakeRecord) -> None:
    def make(trial: Trial) -> TrialRecord:
        # From 0 to 80 in a straight line, over 40 steps or over 80; then level.
        reached = 2 if is_batch(trial) else 4
        curve = tuple(min(80.0, 80.0 * i / reached) for i in range(6))
        return make_record(trial.key, validation=curve, seconds_per_step=0.01)

    claim = judge(make, goal=80.0)["faster"]
    assert (claim.verdict, claim.strength) == ("yes", "leaning")
    assert claim.effect.value == pytest.approx(2.0)
    assert (claim.effect.unit, claim.effect.bound, claim.effect.pairs) == ("x", "", 5)
    assert (claim.baseline_value, claim.variant_value) == (pytest.approx(80.0), pytest.approx(40.0))
    assert claim.evidence is not None
    for name in ("seconds_ratio", "fixed_ratio", "fastest_ratio", "family_low"):
        assert claim.evidence[name] == pytest.approx(2.0)
    assert claim.evidence["sign_flip_p"] == claim.evidence["holm_p"] == 2 / 2**5

    many = judge(make, goal=80.0, seeds=10)["faster"]
    assert (many.verdict, many.strength) == ("yes", "meaningful")


def test_a_baseline_that_misses_the_target_makes_the_ratio_a_lower_bound(
    judge: Judge, make_record: MakeRecord
) -> None:
    def make(trial: Trial) -> TrialRecord:
        if is_batch(trial):
            return make_record(trial.key, validation=(0.0, 80.0, 80.0 + wobble(trial)))
        return make_record(trial.key, validation=(0.0, 20.0, 40.0))

    claim = judge(make, goal=80.0)["faster"]
    assert (claim.verdict, claim.effect.bound) == ("yes", "at least")
    assert claim.effect.value == pytest.approx(2.0)
    assert claim.baseline_value is None
    assert claim.variant_value == pytest.approx(50.0)


@pytest.mark.parametrize(("missed", "verdict"), [(0, "yes"), (1, "undecided")])
def test_a_variant_that_missed_the_target_once_is_never_called_faster(
    judge: Judge, make_record: MakeRecord, missed: int, verdict: str
) -> None:
    def make(trial: Trial) -> TrialRecord:
        if not is_batch(trial):
            return make_record(trial.key, validation=(0.0, 20.0, 80.0))  # at the very end
        if trial.seed < missed:
            return make_record(trial.key, validation=(0.0, 60.0, 79.0))
        return make_record(trial.key, validation=(0.0, 80.0, 80.0))  # half-way

    claim = judge(make, goal=80.0, seeds=10)["faster"]
    assert claim.verdict == verdict
    if missed:
        assert claim.effect.bound == "at most"
        assert claim.reason == "1 of 10 runs never reached the target"


def test_where_neither_reaches_the_target_nothing_is_said(judge: Judge, make_record: MakeRecord) -> None:
    claim = judge(lambda t: make_record(t.key, validation=(0.0, 50.0)), goal=80.0)["faster"]
    assert claim.verdict == "not measured"
    assert claim.reason == "no run of either reached the target"
    assert claim.effect.value is None


def test_a_run_that_breaks_off_is_not_quick(judge: Judge, make_record: MakeRecord) -> None:
    # It diverges after one step, within a hundredth of the time that the baseline needs.
    def make(trial: Trial) -> TrialRecord:
        if is_batch(trial):
            return make_record(
                trial.key, validation=(0.0, None), outcome="diverged", diverged_at=1, last_step=1
            )
        return make_record(trial.key, validation=(0.0, 80.0, 80.0))

    claim = judge(make, goal=80.0)["faster"]
    assert claim.verdict in ("no", "undecided")
    assert claim.evidence is not None
    assert claim.effect.value == pytest.approx(0.5)
    assert claim.evidence["seconds_ratio"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("metric", "baseline", "variant", "better", "gap"),
    [
        ("accuracy", (95.0, 90.0), (96.0, 94.0), 4.0, (5.0, 2.0)),  # train, test
        ("rmse", (30.0, 50.0), (35.0, 45.0), 5.0, (20.0, 10.0)),
        ("r2", (0.9, 0.5), (0.8, 0.6), 0.1, (0.4, 0.2)),
    ],
)
def test_better_on_test_and_a_smaller_gap_count_the_same_way_up_for_every_metric(
    judge: Judge,
    gather: Gather,
    make_record: MakeRecord,
    metric: str,
    baseline: tuple[float, float],
    variant: tuple[float, float],
    better: float,
    gap: tuple[float, float],
) -> None:
    def make(trial: Trial) -> TrialRecord:
        train, test = variant if is_batch(trial) else baseline
        shift = 0.001 * wobble(trial) * (1 + is_batch(trial))
        level = 50.0 if metric == "accuracy" else 60.0
        return make_record(
            trial.key, validation=(level, level), train=(level, train), test=(level, test + shift)
        )

    found = judge(make, metric=metric, margin=0.01)
    for name, effect in (("generalizes", better), ("regularizes", gap[0] - gap[1])):
        assert found[name].verdict == "yes", name
        assert found[name].effect.value == pytest.approx(effect, abs=1e-3)
    assert found["generalizes"].baseline_value == pytest.approx(baseline[1], abs=1e-3)
    assert found["regularizes"].baseline_value == pytest.approx(gap[0], abs=1e-3)
    assert found["regularizes"].variant_value == pytest.approx(gap[1], abs=1e-3)
    mirrored = judge(make, metric=metric, margin=0.01, baseline="batch")
    assert mirrored["generalizes"].verdict == mirrored["regularizes"].verdict == "no"
    assert mirrored["generalizes"].effect.value == pytest.approx(-better, abs=1e-3)
    evidence = gather(make, metric=metric)
    setting = analyse(evidence, name="mlp", in_shape=(13,), out_features=3, margin=0.01, notes=())
    assert [v.gap.value for v in setting.variants] == pytest.approx(list(gap), abs=1e-3)


def test_a_difference_within_the_margin_is_none(judge: Judge, make_record: MakeRecord) -> None:
    def make(trial: Trial) -> TrialRecord:
        return make_record(trial.key, validation=(10.0, 90.0 + is_batch(trial) * 0.1 * (1 + wobble(trial))))

    assert judge(make, margin=0.5)["generalizes"].verdict == "no difference"
    assert judge(make, margin=0.05)["generalizes"].verdict == "yes"


def test_a_diverged_fresh_seed_counts_as_the_untrained_network(judge: Judge, make_record: MakeRecord) -> None:
    def make(trial: Trial) -> TrialRecord:
        if is_batch(trial) and trial.seed == 0:
            return make_record(trial.key, validation=(10.0, None), outcome="diverged")
        return make_record(trial.key, validation=(10.0, 90.0))

    claim = judge(make)["generalizes"]
    assert claim.effect.pairs == 5
    assert claim.effect.value == pytest.approx(-80 / 5)


def test_a_trial_that_raised_leaves_its_pair_out(judge: Judge, make_record: MakeRecord) -> None:
    def make(trial: Trial) -> TrialRecord:
        if is_batch(trial) and trial.seed == 0:
            return make_record(trial.key, outcome="raised")
        return make_record(trial.key, validation=(10.0, 90.0 + 2 * is_batch(trial)))

    claim = judge(make)["generalizes"]
    assert claim.effect.pairs == 4
    assert claim.effect.value == pytest.approx(2.0)


def test_where_every_run_raised_nothing_is_measured(judge: Judge, make_record: MakeRecord) -> None:
    def make(trial: Trial) -> TrialRecord:
        return make_record(trial.key, outcome="raised" if is_batch(trial) else "finished")

    found = judge(make, initializations=({"scheme": "he"}, {"scheme": "he", "scale": 0.1}))
    measured = {name for name, claim in found.items() if claim.verdict != "not measured"}
    assert measured == {"cost"}
    assert all(claim.reason for name, claim in found.items() if name != "cost")


def test_the_spread_over_initialisations_is_a_standard_deviation_per_seed(
    judge: Judge, make_record: MakeRecord
) -> None:
    def make(trial: Trial) -> TrialRecord:
        off = trial.initialization.scale != 1.0
        drop = off * (2.0 if is_batch(trial) else 20.0) + wobble(trial) * off
        return make_record(trial.key, validation=(10.0, 90.0), test=(10.0, 90.0 - drop))

    inits = ({"scheme": "he"}, {"scheme": "he", "scale": 0.1})
    claim = judge(make, initializations=inits)["initialization"]
    assert claim.verdict == "yes"
    assert claim.baseline_value == pytest.approx(20 / math.sqrt(2), abs=0.05)
    assert claim.variant_value == pytest.approx(2 / math.sqrt(2), abs=0.05)
    assert claim.effect.value == pytest.approx(18 / math.sqrt(2), abs=0.01)
    assert judge(make)["initialization"].verdict == "not measured"


def test_the_largest_usable_learning_rate_is_measured_in_decades(
    judge: Judge, make_record: MakeRecord
) -> None:
    def make(trial: Trial) -> TrialRecord:
        # Best at .01; the baseline falls 2 points per decade from there, batch holds on until 1 and then collapses.
        decades = max(0.0, math.log10(trial.lr) + 2)
        value = 90.0 - 2 * decades
        if is_batch(trial):
            value = 90.0 if trial.lr <= 1.0 else 40.0
        return make_record(trial.key, validation=(10.0, value - (trial.lr < 0.01) - wobble(trial)))

    grid = (0.001, 0.01, 0.1, 1.0, 10.0)
    claim = judge(make, lrs=grid, scan_seeds=3)["larger_learning_rates"]
    assert claim.verdict == "yes"
    # One point below the best: half a decade above .01 for the baseline, a fiftieth above 1 for batch.
    assert claim.baseline_value == pytest.approx(10**-1.5, rel=1e-6)
    assert claim.variant_value == pytest.approx(10**0.02, rel=1e-6)
    assert claim.effect.value == pytest.approx(1.52)
    assert (claim.effect.unit, claim.effect.bound) == ("decades", "")


def test_a_variant_that_works_at_the_end_of_the_grid_has_a_lower_bound(
    judge: Judge, make_record: MakeRecord
) -> None:
    def make(trial: Trial) -> TrialRecord:
        alive = is_batch(trial) or trial.lr <= 0.1
        return make_record(trial.key, validation=(10.0, 90.0 if alive else 10.0))

    claim = judge(make)["larger_learning_rates"]
    assert (claim.verdict, claim.effect.bound) == ("yes", "at least")
    assert claim.variant_value == pytest.approx(1.0)
    both = judge(lambda t: make_record(t.key))["larger_learning_rates"]
    assert both.verdict == "undecided"
    assert both.reason == "both still work at the largest learning rate tried"
    assert judge(make, lrs=(0.1,))["larger_learning_rates"].verdict == "not measured"


def test_gradients_are_judged_by_their_distance_from_level_in_either_direction(
    judge: Judge, make_record: MakeRecord
) -> None:
    def make(trial: Trial) -> TrialRecord:
        # The squared norm fades tenfold per layer in the baseline, and doubles with batch.
        factor = 2.0 if is_batch(trial) else 0.1
        rms = tuple(factor ** (-layer / 2) for layer in range(4))
        return make_record(trial.key, gradient=rms, end_gradient=(1.0,) * 4)

    claim = judge(make)["gradients"]
    assert claim.verdict == "yes"
    assert claim.baseline_value == pytest.approx(1.0)
    assert claim.variant_value == pytest.approx(math.log10(2))
    assert claim.effect.value == pytest.approx(1 - math.log10(2))
    assert claim.evidence is not None
    assert claim.evidence["baseline_start he ×1"] == pytest.approx(0.1)
    assert claim.evidence["variant_start he ×1"] == pytest.approx(2.0)
    assert claim.evidence["variant_end he ×1"] == pytest.approx(1.0)


def test_a_slope_is_that_of_squared_norms_whatever_the_layers_sizes(make_record: MakeRecord) -> None:
    sizes = (64, 16, 4, 4)  # pooling
    rms = tuple(math.sqrt(1.5**-layer / size) for layer, size in enumerate(sizes))
    record = make_record(gradient=rms, sizes=sizes)
    assert slope(record.signals[0], record.sizes) == pytest.approx(1.5)
    assert slope(make_record(gradient=(1.0, 1.0)).signals[0], (8, 8)) is None
    assert slope(make_record(gradient=(1.0, 0.0, 1.0)).signals[0], (8, 8, 8)) is None
    assert slope(make_record(gradient=(1.0, None, 1.0)).signals[0], (8, 8, 8)) is None
    assert slope(None, ()) is None


def test_a_slower_step_is_a_cost(judge: Judge, make_record: MakeRecord) -> None:
    claim = judge(lambda t: make_record(t.key), bursts=(1.5, 1.49, 1.51))["cost"]
    assert claim.verdict == "yes"
    assert claim.effect.value == pytest.approx(1.5, rel=1e-3)
    assert claim.baseline_value == pytest.approx(1.5)  # milliseconds
    level = judge(lambda t: make_record(t.key), bursts=(1.0, 1.001, 0.999))["cost"]
    assert level.verdict == "no difference"


def test_verdicts_allow_for_the_number_of_variants(gather: Gather, make_record: MakeRecord) -> None:
    differences = [1.0, 2.0, 0.5, 1.5, 0.8]

    def make(trial: Trial) -> TrialRecord:
        gain = differences[trial.seed] if is_batch(trial) and trial.seed < SCAN_SEED_BASE else 0.0
        return make_record(trial.key, validation=(10.0, 80.0), test=(10.0, 80.0 + gain))

    def verdict(norms: tuple[str, ...]) -> str:
        found = claims(gather(make, norms=norms), 0.1)
        return next(c.verdict for c in found if c.claim == "generalizes" and c.variant == "batch")

    assert verdict(("none", "batch")) == "yes"
    assert verdict(("none", "batch", "layer", "group", "rms", "weight")) == "undecided"


def test_a_curve_is_the_median_with_quartiles_and_a_diverged_seed_is_its_worst(
    make_record: MakeRecord,
) -> None:
    values = (20.0, 40.0, 60.0, 80.0)
    records: list[TrialRecord | None] = [make_record(validation=(10.0, v)) for v in values]
    records += [
        None,
        make_record(validation=(10.0, None), outcome="diverged", diverged_at=3, last_step=3),
    ]
    accuracy = MEASURES["accuracy"]
    for sign in (1, -1):
        found = curve(records, lambda e: accuracy.value(e, "validation"), sign=sign)
        assert found.steps == (0, 100)
        assert found.median == (10.0, 40.0 if sign > 0 else 60.0)
        assert found.low[1] == (20.0 if sign > 0 else 40.0)
        assert found.high[1] == (60.0 if sign > 0 else 80.0)
        assert found.seconds == (0.0, 1.0)


def test_a_setting_shows_every_seed_and_counts_every_run(gather: Gather, make_record: MakeRecord) -> None:
    def make(trial: Trial) -> TrialRecord:
        if is_batch(trial) and trial.lr == 1.0:
            return make_record(trial.key, validation=(10.0, None), outcome="diverged")
        if is_batch(trial) and trial.seed == 1:
            return make_record(trial.key, outcome="raised")
        best = 90.0 if trial.lr == 0.1 else 60.0
        return make_record(trial.key, validation=(10.0, best), test=(10.0, best - trial.seed % 7))

    setting = analyse(
        gather(make, seeds=3), name="mlp", in_shape=(13,), out_features=3, margin=0.5, notes=("a",)
    )
    none, batch = setting.variants
    assert (setting.baseline, setting.seeds, setting.comparisons) == ("none", (0, 1, 2), 1)
    assert setting.network == "multilayer perceptron 13-8-8-8-3, relu"
    assert setting.notes == ("a",)
    assert (none.tuned_lr, none.tuned_at_edge) == (0.1, False)
    assert [final.test for final in none.final] == [90.0, 89.0, 88.0]
    assert [final.test for final in batch.final] == [90.0, None, 88.0]
    assert none.steps_to_target == pytest.approx((95.0,) * 3)  # 95 % of the way, on a straight line
    assert batch.steps_to_target[1] is None
    assert [(point.lr, point.median) for point in none.scan] == [(0.01, 60.0), (0.1, 90.0), (1.0, 60.0)]
    assert [(point.diverged, point.runs) for point in batch.scan] == [(0, 2), (0, 2), (2, 2)]
    # Batch: six scan trials, two of them diverged, and three fresh seeds, one of which raised.
    assert (batch.diverged, batch.runs, batch.failed) == (2, 8, 1)
    assert batch.divergence_interval.low is not None
    assert batch.divergence_interval.low < 2 / 8
    assert none.cost.ratio.value == 1.0
    assert batch.cost.ratio.value == pytest.approx(1.5)
    assert none.train_eval_discrepancy == 0.0
    assert none.percentiles.p15 == (-1.0, -1.0)


def test_the_discrepancy_between_the_modes_is_relative(gather: Gather, make_record: MakeRecord) -> None:
    def make(trial: Trial) -> TrialRecord:
        return make_record(trial.key, train_mode_loss=1.0 if is_batch(trial) else 0.5)  # 0.5 when evaluated

    setting = analyse(gather(make), name="mlp", in_shape=(13,), out_features=3, margin=0.5, notes=())
    assert [variant.train_eval_discrepancy for variant in setting.variants] == [0.0, 0.5]


def test_the_margin_is_half_a_point_or_a_hundredth_of_the_error() -> None:
    spec = make_spec({})
    assert margin_of(spec, MEASURES["accuracy"], [90.0]) == 0.5
    assert margin_of(spec, MEASURES["rmse"], [50.0, 60.0, 55.0]) == pytest.approx(0.55)
    assert margin_of(spec, MEASURES["rmse"], []) == 0.01
    assert margin_of(spec, MEASURES["r2"], [0.5]) == 0.01
    assert margin_of(make_spec({"margin": 2.0}), MEASURES["accuracy"], [90.0]) == 2.0


def test_missing_trials_leave_holes_and_not_errors(gather: Gather, make_record: MakeRecord) -> None:
    evidence = gather(lambda t: make_record(t.key))
    kept = {key: record for i, (key, record) in enumerate(evidence.records.items()) if i % 3}
    partial = dataclasses.replace(evidence, records=kept)
    setting = analyse(partial, name="mlp", in_shape=(13,), out_features=3, margin=0.5, notes=())
    assert any(final.test is None for variant in setting.variants for final in variant.final)
    assert len(setting.claims) == 7
