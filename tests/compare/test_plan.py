import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from normwise.compare.measures import MEASURES
from normwise.compare.network_spec import Initialization, Network
from normwise.compare.plan import Ground, Plan, Trial, grounds
from normwise.compare.spec import SCAN_SEED_BASE, make_spec
from normwise.compare.variant import Variant
from normwise.results import TrialRecord

MakePlan = Callable[..., Plan]
MakeRecord = Callable[..., TrialRecord]
Make = Callable[[Trial], TrialRecord]
Fill = Callable[[Plan, Make], dict[str, TrialRecord]]


def keys(trials: list[Trial]) -> list[str]:
    return [trial.key for trial in trials]


def test_a_plan_starts_with_the_scan_of_every_variant_on_scan_seeds_alone(make_plan: MakePlan) -> None:
    trials = make_plan().next({})
    assert {(t.variant.name, t.lr, t.seed) for t in trials} == {
        (norm, lr, SCAN_SEED_BASE + i)
        for norm in ("none", "batch")
        for lr in (0.01, 0.1, 1.0)
        for i in (0, 1)
    }


def test_a_plan_is_a_function_of_the_records_in_whatever_order_they_came(
    make_plan: MakePlan, by_lr: Callable[..., Make], fill: Fill
) -> None:
    make = by_lr({"batch": {1.0: 90.0, 10.0: 70.0}})
    whole = fill(make_plan(), make)
    shuffled = list(whole.items())
    np.random.default_rng(0).shuffle(shuffled)  # type: ignore[arg-type]
    for kept in range(0, len(shuffled), 3):
        records = dict(shuffled[:kept])
        before = dict(records)
        wanted = keys(make_plan().next(records))
        assert wanted == keys(make_plan().next(records))
        assert records == before
        assert not set(wanted) & set(records)
        while trials := make_plan().next(records):
            records |= {trial.key: make(trial) for trial in trials}
        assert records.keys() == whole.keys()


@pytest.mark.parametrize(
    ("scores", "grid"),
    [
        ({"none": {0.1: 90.0}, "batch": {0.1: 90.0}}, (0.01, 0.1, 1.0)),
        ({"none": {0.1: 90.0}, "batch": {1.0: 90.0}}, (0.01, 0.1, 1.0, 10.0)),
        ({"none": {0.1: 90.0}, "batch": {1.0: 80.0, 10.0: 85.0, 100.0: 90.0}}, (0.01, 0.1, 1.0, 10.0, 100.0)),
        ({"none": {0.01: 90.0}, "batch": {0.1: 90.0}}, (0.001, 0.01, 0.1, 1.0)),
        (
            {"none": {0.01: 80.0, 0.001: 85.0, 0.0001: 90.0}, "batch": {0.1: 90.0}},
            (0.0001, 0.001, 0.01, 0.1, 1.0),
        ),
        ({"none": {0.01: 90.0}, "batch": {1.0: 90.0}}, (0.001, 0.01, 0.1, 1.0, 10.0)),
    ],
    ids=["inside", "up", "up twice and no more", "down", "down twice and no more", "both ways"],
)
def test_the_grid_grows_for_all_variants_where_a_best_rate_sits_at_its_edge(
    make_plan: MakePlan,
    by_lr: Callable[..., Make],
    fill: Fill,
    scores: dict[str, dict[float, float]],
    grid: tuple[float, ...],
) -> None:
    plan = make_plan()
    records = fill(plan, by_lr(scores))
    tuning = plan.tune(records)
    assert tuning is not None
    assert tuning.grid == grid
    assert tuning.extended == (len(grid) > 3)
    assert all(
        plan.trial(v, lr, s).key in records for v in plan.variants for lr in grid for s in plan.scan_seeds
    )
    best = {name: max(table, key=lambda lr: table[lr]) for name, table in scores.items()}
    assert tuning.tuned == best
    assert tuning.at_edge == {name: lr in (grid[0], grid[-1]) for name, lr in best.items()}


def test_a_single_learning_rate_is_never_extended(
    make_plan: MakePlan, by_lr: Callable[..., Make], fill: Fill
) -> None:
    plan = make_plan(lrs=(0.1,))
    records = fill(plan, by_lr({}))
    tuning = plan.tune(records)
    assert tuning is not None
    assert (tuning.grid, tuning.extended) == ((0.1,), False)
    assert not any(tuning.at_edge.values())


def test_ties_go_to_the_middle(make_plan: MakePlan, by_lr: Callable[..., Make], fill: Fill) -> None:
    plan = make_plan(lrs=(0.001, 0.01, 0.1, 1.0, 10.0))
    tuning = plan.tune(fill(plan, by_lr({"batch": {1.0: 90.0, 10.0: 90.0}})))
    assert tuning is not None
    assert tuning.tuned == {"none": 0.1, "batch": 1.0}


def test_everything_is_decided_on_validation_alone(
    make_plan: MakePlan, make_record: MakeRecord, fill: Fill
) -> None:
    def make(generator: np.random.Generator, trial: Trial) -> TrialRecord:
        level = {0.01: 40.0, 0.1: 70.0, 1.0: 60.0}.get(trial.lr, 30.0)
        train, test = (tuple(generator.uniform(0, 100, 3).tolist()) for _ in range(2))
        return make_record(trial.key, validation=(10.0, level / 2, level), train=train, test=test)

    decided = []
    for seed in (1, 2):
        generator = np.random.default_rng(seed)
        plan = make_plan()
        records = fill(plan, lambda trial, generator=generator: make(generator, trial))
        decided.append((plan.tune(records), records.keys()))
    assert decided[0] == decided[1]


def test_a_diverged_seed_counts_as_the_worst(
    make_plan: MakePlan, make_record: MakeRecord, fill: Fill
) -> None:
    def make(trial: Trial) -> TrialRecord:
        if trial.lr == 0.1:  # best on one seed, divergent on the other
            diverged = trial.seed == SCAN_SEED_BASE
            return make_record(
                trial.key, validation=(10.0, 99.0), outcome="diverged" if diverged else "finished"
            )
        return make_record(trial.key, validation=(10.0, {0.01: 60.0, 1.0: 40.0}.get(trial.lr, 20.0)))

    plan = make_plan()
    tuning = plan.tune(fill(plan, make))
    assert tuning is not None
    assert tuning.tuned == {"none": 0.01, "batch": 0.01}


def test_where_less_is_better_the_smallest_error_wins(
    make_plan: MakePlan, by_lr: Callable[..., Make], fill: Fill
) -> None:
    plan = make_plan(metric="rmse")
    tuning = plan.tune(fill(plan, by_lr({"none": {0.1: 4.0}, "batch": {0.1: 5.0, 1.0: 90.0}})))
    assert tuning is not None
    assert tuning.tuned == {"none": 0.1, "batch": 0.1}


def test_the_fresh_trials_come_once_each_at_the_three_rates_and_other_initialisations(
    make_plan: MakePlan, make_record: MakeRecord, fill: Fill
) -> None:
    plan = make_plan(
        lrs=(0.001, 0.01, 0.1, 1.0, 10.0),
        initializations=({"scheme": "he"}, {"scheme": "he", "scale": 0.1}),
    )

    def make(trial: Trial) -> TrialRecord:
        final = {"none": {0.01: 80.0}, "batch": {0.1: 95.0}}[trial.variant.name].get(trial.lr, 60.0)
        # Rate 1 is quick to the target and then falls back: the fastest one, and never the tuned one.
        return make_record(trial.key, validation=(10.0, 85.0 if trial.lr == 1.0 else 30.0, final))

    records = fill(plan, make)
    tuning = plan.tune(records)
    assert tuning is not None
    assert tuning.tuned == {"none": 0.01, "batch": 0.1}
    assert tuning.target == pytest.approx(10.0 + 0.95 * 70.0)
    assert tuning.fastest == {"none": 1.0, "batch": 1.0}
    trials = plan.fresh(tuning)
    assert set(Counter(keys(trials)).values()) == {1}
    expected = {
        (name, lr, 1.0, seed) for name in ("none", "batch") for lr in (0.01, 1.0) for seed in (0, 1)
    } | {("batch", 0.1, 1.0, seed) for seed in (0, 1)}
    expected |= {(name, lr, 0.1, seed) for name, lr in (("none", 0.01), ("batch", 0.1)) for seed in (0, 1)}
    assert {(t.variant.name, t.lr, t.initialization.scale, t.seed) for t in trials} == expected


def test_the_target_is_most_of_the_way_of_the_worst_scan_seed_of_the_tuned_baseline(
    make_plan: MakePlan, make_record: MakeRecord, fill: Fill
) -> None:
    def make(trial: Trial) -> TrialRecord:
        level = {0.1: 70.0}.get(trial.lr, 40.0) + (trial.seed == SCAN_SEED_BASE)
        return make_record(trial.key, validation=(10.0, level + 20 * (trial.variant.name == "batch")))

    plan = make_plan()
    tuning = plan.tune(fill(plan, make))
    assert tuning is not None
    assert tuning.target == pytest.approx(10.0 + 0.95 * 60.0)

    asked = make_plan(goal=55.0)
    tuning = asked.tune(fill(asked, make))
    assert tuning is not None
    assert (tuning.target, tuning.target_reason) == (55.0, "asked for")


def test_a_baseline_that_learned_nothing_sets_no_target(
    make_plan: MakePlan, make_record: MakeRecord, fill: Fill
) -> None:
    plan = make_plan()
    tuning = plan.tune(fill(plan, lambda trial: make_record(trial.key, validation=(50.0, 50.0))))
    assert tuning is not None
    assert tuning.target is None
    assert "did not get better" in tuning.target_reason


def test_without_a_finished_run_of_the_baseline_there_is_no_target(
    make_plan: MakePlan, make_record: MakeRecord, fill: Fill
) -> None:
    plan = make_plan()
    records = fill(
        plan,
        lambda t: make_record(t.key, outcome="diverged" if t.variant.name == "none" else "finished"),
    )
    tuning = plan.tune(records)
    assert tuning is not None
    assert tuning.target is None
    assert "'none'" in tuning.target_reason
    assert set(tuning.fastest.values()) == {None}


def test_a_variant_that_mostly_misses_the_target_has_no_fastest_rate(
    make_plan: MakePlan, by_lr: Callable[..., Make], fill: Fill
) -> None:
    plan = make_plan(goal=80.0)
    tuning = plan.tune(fill(plan, by_lr({"none": {0.1: 90.0}, "batch": {0.1: 70.0}})))
    assert tuning is not None
    assert tuning.fastest == {"none": 0.1, "batch": None}


def test_more_seeds_ask_for_the_new_ones_only(
    make_plan: MakePlan, by_lr: Callable[..., Make], fill: Fill
) -> None:
    records = fill(make_plan(seeds=2), by_lr({}))
    more = make_plan(seeds=5).next(records)
    assert {trial.seed for trial in more} == {2, 3, 4}


def test_the_question_read_back_from_json_names_the_same_trials(make_plan: MakePlan) -> None:
    plan = make_plan(initializations=({"scheme": "he", "scale": 0.1},))
    spec = make_spec(plan.spec.model_dump(mode="json"))
    again = Plan(spec, plan.ground, data="fingerprint", measure=MEASURES["accuracy"])
    assert keys(again.next({})) == keys(plan.next({}))


def test_a_trial_s_key_tells_everything_apart_that_determines_its_numbers() -> None:
    ground = Ground(Network(kind="mlp"), None, 64, "sgd", 100)
    trial = Trial("data", "accuracy", ground, Variant(norm="batch"), Initialization(), 0.1, 0)
    changes: list[dict[str, Any]] = [
        {"data": "other"},
        {"metric": "log_loss"},
        {"lr": 0.2},
        {"seed": 1},
        {"initialization": Initialization(scale=0.1)},
        {"initialization": Initialization(scheme="xavier")},
    ]
    changes += [
        {"ground": dataclasses.replace(ground, **change)}
        for change in (
            {"network": Network(kind="cnn")},
            {"network": Network(kind="mlp", activation="tanh")},
            {"network": Network(kind="mlp", widths=(64, 64, 64, 65))},
            {"depth": 4},
            {"batch_size": 32},
            {"optimizer": "adam"},
            {"steps": 101},
        )
    ]
    changes += [
        {"variant": Variant(**{"norm": "batch"} | change)}
        for change in (
            {"norm": "layer"},
            {"position": "after"},
            {"dropout": 0.1},
            {"l1": 0.1},
            {"l2": 0.1},
            {"weight_decay": 0.1},
            {"augment": ("flip",)},
            {"norm_output": True},
        )
    ]
    others = [dataclasses.replace(trial, **change).key for change in changes]
    assert len({trial.key, *others}) == 1 + len(changes)
    assert dataclasses.replace(trial).key == trial.key


def test_every_combination_is_a_setting_of_its_own() -> None:
    spec = make_spec(
        {
            "networks": ({"kind": "mlp"}, {"kind": "cnn"}),
            "depths": (2, 3),
            "batch_sizes": (8, 16),
            "optimizers": ("sgd", "adam"),
        }
    )
    found = grounds(spec, steps_of=lambda batch, share: {8: 20, 16: 10}[batch])
    assert len(found) == len({ground.name for ground in found}) == 16
    assert {(ground.batch_size, ground.steps) for ground in found} == {(8, 20), (16, 10)}
    assert {len(g.network.widths) for g in found if g.network.kind == "mlp"} == {2, 3}
