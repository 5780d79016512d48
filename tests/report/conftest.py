"""A comparison that looks like a real one, made without training: what the report's tests render."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from synthetic_setting import make_setting

from normwise.results import (
    Comparison,
    DataSummary,
    Estimate,
    GradientProbe,
    Interval,
    Reproduction,
    Setting,
)


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
