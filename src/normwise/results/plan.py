"""What a run is going to do, told before it does anything."""

from __future__ import annotations

from dataclasses import dataclass

from normwise.results.comparison import DataSummary
from normwise.results.trial import SCHEMA_VERSION


@dataclass(frozen=True)
class PlannedSetting:
    """One network with one batch size and one optimizer, as it will be trained.

    Attributes:
        trainings: how many; the part that depends on what the scan finds is guessed.
    """

    name: str
    network: str
    batch_size: int
    optimizer: str
    steps: int
    epochs: float
    variants: tuple[str, ...]
    baseline: str
    lrs: tuple[float, ...]
    initializations: tuple[str, ...]
    trainings: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlanSummary:
    """The plan: what was understood, what will run, how long it takes.

    Attributes:
        seconds: wall time of the whole question, from nothing.
        budget: seconds; None where there is no limit.
        fits: whether it keeps within the budget.
        shed: what was left out to keep within it.
        resumed: whether the directory holds a part of it already.
    """

    question: str
    study: str
    data: DataSummary
    settings: tuple[PlannedSetting, ...]
    seeds: int
    scan_seeds: int
    exploratory: bool
    references: tuple[str, ...]
    trainings: int
    workers: int
    seconds: float
    budget: float | None
    fits: bool
    shed: tuple[str, ...]
    directory: str
    resumed: bool
    schema: int = SCHEMA_VERSION
