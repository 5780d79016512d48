"""Records that were never trained, so that what is concluded from them has a known right answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch

from normwise.compare.measures import MEASURES
from normwise.compare.network_spec import Network
from normwise.compare.plan import Ground, Plan, Trial
from normwise.compare.spec import make_spec
from normwise.compare.variant import product
from normwise.results import Evaluation, LayerSignals, TrialRecord

STEPS = 100
MakeRecord = Callable[..., TrialRecord]
MakePlan = Callable[..., Plan]
Fill = Callable[[Plan, Callable[[Trial], TrialRecord]], dict[str, TrialRecord]]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in a worker process, so that numbers are the same in both."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _signals(step: int, gradient: tuple[float | None, ...]) -> LayerSignals:
    several = (0.5,) * len(gradient)
    return LayerSignals(step, gradient, gradient, several, several, several, several, (-1.0, 0.0, 1.0))


@pytest.fixture
def make_record() -> MakeRecord:
    """A record with evaluations at even steps; `train` and `test` follow `validation` where they are not given."""

    def make(
        key: str = "k",
        *,
        validation: tuple[float | None, ...] = (10.0, 90.0),
        train: tuple[float | None, ...] | None = None,
        test: tuple[float | None, ...] | None = None,
        outcome: str = "finished",
        diverged_at: int | None = None,
        last_step: int = STEPS,
        seconds_per_step: float = 0.01,
        gradient: tuple[float | None, ...] = (1.0, 1.0, 1.0, 1.0),
        end_gradient: tuple[float | None, ...] | None = None,
        sizes: tuple[int, ...] | None = None,
        train_mode_loss: float | None = 0.5,
    ) -> TrialRecord:
        train, test = train or validation, test or validation
        count = max(1, len(validation) - 1)
        evaluations = []
        for i, (a, b, c) in enumerate(zip(train, validation, test, strict=True)):
            step = round(i * last_step / count)
            evaluations.append(Evaluation(step, seconds_per_step * step, 0.5, a, 0.5, b, 0.5, c))
        return TrialRecord(
            key=key,
            description={},
            outcome=outcome,  # type: ignore[arg-type]
            evaluations=() if outcome == "raised" else tuple(evaluations),
            signals=()
            if outcome == "raised"
            else (_signals(0, gradient), _signals(last_step, end_gradient or gradient)),
            layers=() if outcome == "raised" else tuple(str(i) for i in range(len(gradient))),
            sizes=() if outcome == "raised" else sizes or (8,) * len(gradient),
            train_mode_loss=train_mode_loss,
            parameters=100,
            diverged_at=diverged_at,
            error="ValueError: no" if outcome == "raised" else None,
            wall_seconds=1.0,
        )

    return make


@pytest.fixture
def make_plan() -> MakePlan:
    """A plan of one setting; options are fields of the question."""

    def make(*, norms: tuple[str, ...] = ("none", "batch"), metric: str = "accuracy", **fields: Any) -> Plan:
        question = {
            "data": "wine",
            "variants": product(norms=norms),
            "lrs": (0.01, 0.1, 1.0),
            "initializations": ({"scheme": "he"},),
            "seeds": 2,
            "scan_seeds": 2,
            "metric": metric,
        } | fields
        spec = make_spec(question)
        ground = Ground(Network(kind="mlp", widths=(8, 8, 8)), None, 64, "sgd", STEPS)
        return Plan(spec, ground, data="fingerprint", measure=MEASURES[metric])

    return make


@pytest.fixture
def fill() -> Fill:
    """Answer everything that a plan asks for."""

    def run(plan: Plan, make: Callable[[Trial], TrialRecord]) -> dict[str, TrialRecord]:
        records: dict[str, TrialRecord] = {}
        while trials := plan.next(records):
            records |= {trial.key: make(trial) for trial in trials}
        return records

    return run


@pytest.fixture
def by_lr(make_record: MakeRecord) -> Callable[[Mapping[str, Mapping[float, float]]], Any]:
    """A maker of records whose final validation metric is looked up by variant and learning rate (else 50)."""

    def table(scores: Mapping[str, Mapping[float, float]]) -> Callable[[Trial], TrialRecord]:
        return lambda trial: make_record(
            trial.key, validation=(10.0, scores.get(trial.variant.name, {}).get(trial.lr, 50.0))
        )

    return table
