"""A comparison that looks like a real one, made without training: what the report's tests render."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from normwise.results import (
    ActivationPercentiles,
    Claim,
    ClaimName,
    Comparison,
    CostResult,
    Curve,
    DataSummary,
    Estimate,
    FinalSeed,
    GradientFlow,
    GradientProbe,
    InitSpread,
    Interval,
    LearningRatePoint,
    MoreSeeds,
    Recommendation,
    ReferenceResult,
    Reproduction,
    Setting,
    Snippet,
    VariantResult,
    Verdict,
)

STEPS = (0, 4, 8, 14, 22, 34, 52, 80, 120, 180, 270)
LEVEL = {
    "none": 95.0,
    "batch": 96.6,
    "layer": 95.6,
    "group": 95.9,
    "instance": 93.2,
    "weight": 95.1,
    "rms": 95.5,
}
SPEED = {"none": 1.0, "batch": 3.1, "layer": 2.0, "group": 1.8, "instance": 0.7, "weight": 1.1, "rms": 1.9}
COST = {
    "none": 0.31,
    "batch": 0.42,
    "layer": 0.38,
    "group": 0.40,
    "instance": 0.41,
    "weight": 0.52,
    "rms": 0.37,
}
SLOPE = {
    "none": 0.93,
    "batch": 1.41,
    "layer": 1.02,
    "group": 1.06,
    "instance": 1.2,
    "weight": 0.9,
    "rms": 1.01,
}
NOTHING = Interval(None, None)


def data_summary(regression: bool = False) -> DataSummary:
    if regression:
        return DataSummary(
            name="diabetes",
            source="scikit-learn",
            task="regression",
            task_reason="told from the target: 214 distinct numbers",
            rows=442,
            inputs="10 numeric columns",
            classes=(),
            target="progression",
            metric="rmse",
            metric_unit="points",
            higher_is_better=False,
            split=(265, 88, 89),
            notes=("nothing was missing",),
            margin=0.55,
            margin_note="89 test rows cannot resolve this margin",
        )
    return DataSummary(
        name="digits",
        source="scikit-learn load_digits",
        task="classification",
        task_reason="told from the target: 10 distinct integers",
        rows=1797,
        inputs="8×8 grey images",
        classes=tuple(str(i) for i in range(10)),
        target="digit",
        metric="accuracy",
        metric_unit="%",
        higher_is_better=True,
        split=(1078, 359, 360),
        notes=("pixels are scaled to 0…1 and standardized on the training part",),
        margin=0.5,
        margin_note="with 360 test rows one error is 0.28 pp, so 5 seeds cannot resolve the margin",
    )


def _curve(
    rng: random.Random, name: str, *, regression: bool, loss: bool = False, slow: float = 1.0
) -> Curve:
    speed, level = SPEED.get(name, 1.2) * slow, LEVEL.get(name, 95.4)
    median: list[float | None] = []
    for step in STEPS:
        share = 1 - math.exp(-step * speed / 40)
        if loss:
            value = 2.3 * (1 - share) + 0.02 + 0.05 / speed
        elif regression:
            value = 160 - 105 * share
        else:
            value = 10 + (level - 10) * share
        median.append(value + rng.uniform(-0.004, 0.004) * value)
    width = [
        0.08 * abs(v or 0) * math.exp(-s / 60) + 0.003 * abs(v or 0)
        for v, s in zip(median, STEPS, strict=True)
    ]
    return Curve(
        STEPS,
        tuple(step * COST.get(name, 0.4) / 1000 for step in STEPS),
        tuple(median),
        tuple(None if v is None else v - w for v, w in zip(median, width, strict=True)),
        tuple(None if v is None else v + w for v, w in zip(median, width, strict=True)),
    )


def variant_result(
    rng: random.Random, name: str, seeds: int, grid: tuple[float, ...], depth: int, regression: bool
) -> VariantResult:
    level, unit = LEVEL.get(name, 95.4), "points" if regression else "pp"
    best = {"batch": 3, "layer": 3, "group": 3}.get(name, 2) % len(grid)

    def draw(center: float) -> float:
        return 55 + (96 - center) + rng.gauss(0, 1.2) if regression else center + rng.gauss(0, 0.5)

    scan = []
    for i, lr in enumerate(grid):
        diverged = 2 if i == len(grid) - 1 and name in ("none", "weight") else 0
        values = tuple(
            None if k < diverged else draw(level - 6.0 * abs(i - best) ** 1.4 / SPEED.get(name, 1.2))
            for k in range(2)
        )
        kept = [v for v in values if v is not None]
        scan.append(
            LearningRatePoint(lr, values, kept[0] if kept else None, diverged, 2, Interval(0.0, 0.66))
        )
    final = tuple(
        FinalSeed(
            1000 + k,
            None if name == "instance" and k == 0 else draw(level + 3),
            None if name == "instance" and k == 0 else draw(level),
            None if name == "instance" and k == 0 else draw(level),
            name == "instance" and k == 0,
        )
        for k in range(seeds)
    )
    spreads = tuple(
        InitSpread(
            label,
            tuple(draw(level - loss / SPEED.get(name, 1.2) ** 2) for _ in range(seeds)),
            None,
            1 if name == "none" and loss else 0,
        )
        for label, loss in (("he ×1", 0.0), ("he ×0.1", 9.0))
    )
    slope = SLOPE.get(name, 1.0)
    layers = tuple(f"blocks.{i}" for i in range(depth))
    start = tuple(2e-3 * slope ** ((depth - 1 - i) / 2) * rng.uniform(0.9, 1.1) for i in range(depth))
    steps_to = tuple(
        None if name == "instance" and k < 3 else round(127 / SPEED.get(name, 1.2) * rng.uniform(0.8, 1.2))
        for k in range(seeds)
    )
    ms = COST.get(name, 0.4)
    return VariantResult(
        name=name,
        description="" if name == "none" else f"{name} before the activation",
        parameters=13_194 + 10 * len(name),
        tuned_lr=grid[best],
        fastest_lr=grid[best],
        tuned_at_edge=False,
        scan=tuple(scan),
        validation_curve=_curve(rng, name, regression=regression),
        train_loss_curve=_curve(rng, name, regression=regression, loss=True),
        fixed_validation_curve=_curve(rng, name, regression=regression, slow=0.5),
        steps_to_target=steps_to,
        seconds_to_target=tuple(None if s is None else s * ms / 1000 for s in steps_to),
        initializations=spreads,
        gradient=GradientFlow(
            layers,
            start,
            tuple(v / 3 for v in start),
            slope,
            slope,
            Interval(slope - 0.03, slope + 0.03),
            NOTHING,
        ),
        percentiles=ActivationPercentiles(
            STEPS,
            tuple(-1 - 0.004 * s * rng.random() for s in STEPS),
            tuple(0.002 * s * rng.random() for s in STEPS),
            tuple(1 + 0.004 * s * rng.random() for s in STEPS),
        ),
        final=final,
        gap=Estimate(3.0 + rng.gauss(0, 0.4), Interval(2.1, 3.9), seeds, unit),
        cost=CostResult(
            ms, ms * 0.97, ms * 1.06, Estimate(ms / COST["none"], Interval(ms / 0.33, ms / 0.29), seeds, "x")
        ),
        dead_fraction=0.12 if name == "none" else 0.03,
        correlation=0.21 if name == "none" else 0.19,
        activation_std=tuple(0.6 for _ in layers),
        train_eval_discrepancy=0.034 if name == "batch" else 0.0,
        diverged=1 if name == "instance" else 0,
        runs=seeds,
        divergence_interval=Interval(0.04, 0.62),
        failed=0,
        norm=name.partition(" + ")[0],
        penalties={},
    )


def claims_of(name: str, seeds: int, regression: bool) -> list[Claim]:
    unit = "points" if regression else "pp"
    strength: Any = "meaningful" if seeds >= 10 else "leaning"
    speed, ms = SPEED.get(name, 1.2), COST.get(name, 0.4)
    faster: Verdict = "yes" if speed > 1.5 else "no" if speed < 0.9 else "undecided"
    gain = LEVEL.get(name, 95.4) - LEVEL["none"]
    test: Verdict = (
        "yes" if gain > 1.2 else "no" if gain < -1 else "no difference" if name == "weight" else "undecided"
    )

    def claim(claim: ClaimName, verdict: Verdict, effect: Estimate, **more: Any) -> Claim:
        decided = strength if verdict in ("yes", "no", "no difference") else ""
        return Claim(claim, name, verdict, decided, effect, **more)

    tested = {
        "probability_of_superiority": 0.9,
        "superiority_low": 0.6,
        "superiority_high": 1.0,
        "family_low": 0.7,
        "family_high": 1.9,
        "sign_flip_p": 0.0625,
        "holm_p": 0.3125,
    }
    undecided = {"smallest_detectable": 1.6, "seeds_needed": 23}
    return [
        claim(
            "faster",
            faster,
            Estimate(
                speed, Interval(speed / 1.4, speed * 1.4), seeds, "x", "at most" if name == "instance" else ""
            ),
            baseline_value=127.0,
            variant_value=None if name == "instance" else 127 / speed,
            evidence={
                **tested,
                "baseline_missed": 0.0,
                "variant_missed": 3.0 if name == "instance" else 0.0,
                "seconds_ratio": speed * 0.8,
                "seconds_low": speed * 0.5,
                "seconds_high": speed * 1.2,
                "fixed_ratio": speed * 0.6,
                "fixed_low": None,
                "fixed_high": None,
                "fastest_ratio": None,
            },
            **(undecided if faster == "undecided" else {}),
        ),
        claim(
            "larger_learning_rates",
            "yes" if name == "batch" else "no difference" if name == "weight" else "undecided",
            Estimate(1.0 if name == "batch" else 0.2, Interval(0.0, None), seeds, "decades", "at least"),
            baseline_value=0.42,
            variant_value=4.2 if name == "batch" else 0.66,
            **({"smallest_detectable": 0.8, "seeds_needed": 12} if name not in ("batch", "weight") else {}),
        ),
        claim(
            "initialization",
            "yes" if speed > 1.5 else "undecided",
            Estimate(6.2 * (speed - 1), Interval(0.3, 9.0), seeds, unit),
            baseline_value=8.9,
            variant_value=8.9 / speed**2,
            **({} if speed > 1.5 else {"smallest_detectable": 3.3, "seeds_needed": None}),
        ),
        claim(
            "gradients",
            "no" if name == "batch" else "yes",
            Estimate(-0.1 if name == "batch" else 0.06, Interval(-0.2, 0.1), seeds, "decades per layer"),
            baseline_value=0.07,
            variant_value=0.17 if name == "batch" else 0.01,
            evidence={
                **tested,
                "baseline_start he ×1": SLOPE["none"],
                "baseline_end he ×1": 0.8,
                "variant_start he ×1": SLOPE.get(name, 1.0),
                "variant_end he ×1": 1.1,
            },
        ),
        claim(
            "generalizes",
            test,
            Estimate(gain, Interval(gain - 0.8, gain + 0.8), seeds, unit),
            baseline_value=95.0,
            variant_value=95.0 - gain if regression else 95.0 + gain,
            **(undecided if test == "undecided" else {}),
        ),
        claim(
            "regularizes",
            "undecided",
            Estimate(0.3, Interval(-0.9, 1.5), seeds, unit),
            baseline_value=3.2,
            variant_value=2.9,
            **undecided,
        ),
        claim(
            "cost",
            "not measured" if name == "rms" else "yes",
            Estimate(None if name == "rms" else ms / 0.31, Interval(ms / 0.34, ms / 0.29), seeds, "x"),
            baseline_value=0.31,
            variant_value=ms,
            reason="the machine was busy" if name == "rms" else "",
        ),
    ]


TORCH = """import torch
from torch import nn

model = nn.Sequential(
    nn.Flatten(),
    nn.Linear(64, 64, bias=False),
    nn.BatchNorm1d(64),
    nn.ReLU(),
    nn.Linear(64, 64, bias=False),
    nn.BatchNorm1d(64),
    nn.ReLU(),
    nn.Linear(64, 10),
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
"""
KERAS = """import keras

model = keras.Sequential([
    keras.layers.Flatten(),
    keras.layers.Dense(64, use_bias=False),
    keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5),
    keras.layers.ReLU(),
    keras.layers.Dense(10),
])
"""


def recommendation(variant: str, lr: float) -> Recommendation:
    return Recommendation(
        variant,
        lr,
        "reaches the target in 3.1× fewer steps",
        (
            Snippet("PyTorch", TORCH),
            Snippet("Keras", KERAS, "Keras counts its momentum the other way round"),
        ),
    )


def references(seeds: int) -> tuple[ReferenceResult, ...]:
    numbers = {"majority class": 10.2, "linear": 96.9, "gradient boosting": 96.1}
    rng = random.Random(seeds)
    return tuple(
        ReferenceResult(
            name,
            f"scikit-learn's {name}",
            tuple(1000 + k for k in range(seeds)),
            tuple(level + rng.gauss(0, 0.3) for _ in range(seeds)),
            level,
            0.42,
        )
        for name, level in numbers.items()
    )


MORE = MoreSeeds(
    "normwise compare digits --network mlp --network cnn --seeds 23",
    23,
    ("faster: weight", "generalizes: layer", "generalizes: group"),
)


def make_setting(
    name: str,
    names: tuple[str, ...],
    *,
    seeds: int = 5,
    grid: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0, 10.0),
    regression: bool = False,
) -> Setting:
    rng = random.Random(f"{name} {names} {seeds}")
    depth = 4 if name.startswith("mlp") else 3
    networks = {
        "mlp": "multilayer perceptron 64-64-64-64-64-10, ReLU",
        "cnn": "convolutional network 1×8×8, channels 16-32-32, average pooling, ReLU",
    }
    return Setting(
        name=name,
        network=networks.get(name, name),
        batch_size=64,
        optimizer="SGD with momentum 0.9",
        steps=270,
        grid=grid,
        grid_extended=True,
        scan_seeds=(1, 2),
        seeds=tuple(1000 + k for k in range(seeds)),
        baseline="none",
        target=70.0 if regression else 93.0,
        target_reason="the level that the baseline holds at its tuned learning rate on the scan seeds",
        comparisons=len(names) - 1,
        variants=tuple(variant_result(rng, n, seeds, grid, depth, regression) for n in names),
        claims=tuple(claim for n in names if n != "none" for claim in claims_of(n, seeds, regression)),
        recommendation=recommendation("batch" if "batch" in names else "none", 0.1),
    )


def make_comparison(*, regression: bool = False, **changes: Any) -> Comparison:
    mlp = make_setting("mlp", ("none", "batch", "layer", "group", "weight", "rms"), regression=regression)
    cnn = make_setting("cnn", ("none", "batch", "layer", "group", "instance", "weight", "rms"))
    settings = (mlp,) if regression else (mlp, cnn)
    depth = 24
    trials = tuple(
        {
            "setting": setting.name,
            "variant": variant.name,
            "initialization": "he ×1",
            "lr": variant.tuned_lr,
            "seed": end.seed,
            "outcome": "diverged" if end.diverged else "finished",
            "test_metric": end.test,
        }
        for setting in settings
        for variant in setting.variants
        for end in variant.final
    )
    base = Comparison(
        question="What does normalization do for these networks on digits: faster, steadier, less "
        "sensitive, better?",
        data=data_summary(regression),
        settings=settings,
        probe=GradientProbe(
            width=384,
            depth=depth,
            batch_size=256,
            seeds=4,
            names=("He initialization", "variance 1/n", "Batch Normalization"),
            measured=tuple(
                Estimate(v, Interval(v * 0.99, v * 1.01), 4, "per layer") for v in (1.003, 0.502, 1.461)
            ),
            oracle=(1.0, 0.5, math.pi / (math.pi - 1)),
            curves=tuple(tuple(v ** (depth - 1 - i) for i in range(depth)) for v in (1.003, 0.502, 1.461)),
        ),
        reproduction=Reproduction(
            command="normwise compare digits --network mlp --network cnn --seeds 5",
            directory="runs/digits",
            spec={"data": "digits", "seeds": 5, "variants": ["none", "batch"]},
            versions={"normwise": "0.1.0", "torch": "2.13.0", "python": "3.12.1"},
            machine={"processor": "2 cores", "system": "Linux"},
            created="2026-01-02 03:04 UTC",
            seconds=151.2,
        ),
        trials=trials,
        planned=len(trials),
        finished=len(trials),
        failed=0,
        study="norm",
        references=() if regression else references(5),
        more_seeds=MORE,
    )
    return replace(base, **changes)


@pytest.fixture(scope="session")
def comparison() -> Comparison:
    return make_comparison()


@pytest.fixture(scope="session")
def make() -> Callable[..., Comparison]:
    return make_comparison


@pytest.fixture(scope="session")
def setting_of() -> Callable[..., Setting]:
    return make_setting
