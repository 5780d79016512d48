"""The answer of `compare`: everything a report shows, as numbers.

A `Comparison` holds one `Setting` per network, depth, batch size and optimizer. Variants are compared within a
setting and never across settings. Effects are signed so that positive means "the variant does better than the
baseline", and ratios so that above one means it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from normwise.results.estimate import Estimate
from normwise.results.trial import SCHEMA_VERSION
from normwise.results.variant import VariantResult

ClaimName = Literal[
    "faster",  # fewer steps to the target
    "larger_learning_rates",  # tolerates larger learning rates
    "initialization",  # indifferent to the scale of the initialisation
    "gradients",  # keeps gradients alive over depth
    "generalizes",  # better test metric
    "regularizes",  # smaller gap between train and test
    "cost",  # costs time per step
]
Verdict = Literal["yes", "no", "undecided", "no difference", "not measured", "exploratory"]
"""`exploratory`: an effect of a run that was asked for as a first look (`--quick`), with too few seeds to judge."""

Strength = Literal["meaningful", "leaning", ""]
"""`meaningful`: ten pairs or more and the decision rule's family-wise error is at most 5 %; `leaning`: fewer pairs."""


@dataclass(frozen=True)
class DataSummary:
    """The data as it was understood."""

    name: str
    source: str
    task: Literal["classification", "regression"]
    task_reason: str  # why this task: "told from the target: 10 distinct integers"
    rows: int
    inputs: str  # "64 numeric columns", "8×8 grey images"
    classes: tuple[str, ...]
    target: str
    metric: str  # "accuracy", "rmse", …
    metric_unit: str  # "%", or the unit of the target
    higher_is_better: bool
    split: tuple[int, int, int]  # rows in train, validation, test
    notes: tuple[str, ...]  # what was imputed, encoded, dropped, and why
    margin: float  # differences within ± margin count as none, in the metric's unit
    margin_note: str  # whether the test set can resolve the margin
    fixed_parts: Literal["none", "test", "all"] = "none"  # of the split: the same whatever the seed
    warnings: tuple[
        str, ...
    ] = ()  # what may make every number here wrong: a feature that gives the target away, …


@dataclass(frozen=True)
class Claim:
    """One line of the answer: does this variant do that, against the baseline?

    Attributes:
        verdict: for "cost" a "yes" means that it costs more.
        effect: the number behind the verdict.
        baseline_value, variant_value: the two sides of it: learning rates for "larger_learning_rates", steps for
            "faster", milliseconds for "cost", otherwise the effect's unit.
        evidence: further numbers worth a line, such as "probability_of_superiority", "tuned_ratio", "fixed_ratio".
        smallest_detectable: the smallest true effect that this many pairs would have found four times in five.
        seeds_needed: pairs that would decide, if the effect is as large as it looks; None where none would.
        reason: why a thing is not measured or a bound is one-sided, in words; "" otherwise.
    """

    claim: ClaimName
    variant: str
    verdict: Verdict
    strength: Strength
    effect: Estimate
    baseline_value: float | None = None
    variant_value: float | None = None
    evidence: dict[str, float | None] | None = None
    smallest_detectable: float | None = None
    seeds_needed: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class Snippet:
    """Code to paste: the recommended variant of a setting in one framework.

    Attributes:
        framework: "PyTorch" or "Keras".
        text: the code, whole and runnable; "" where the framework has no such layer.
        note: what differs from what was compared, in words; "" if nothing does.
    """

    framework: Literal["PyTorch", "Keras"]
    text: str
    note: str = ""


@dataclass(frozen=True)
class Recommendation:
    """What to do in this setting, on the strength of its claims.

    Attributes:
        variant: the variant's name; the baseline's where nothing speaks for another one.
        lr: its tuned learning rate.
        reason: why, in words, without the variant's name: "reaches the target in 3.7× fewer steps".
        snippets: the variant as code.
    """

    variant: str
    lr: float
    reason: str
    snippets: tuple[Snippet, ...] = ()


@dataclass(frozen=True)
class Setting:
    """One network with one batch size and one optimizer: the ground on which variants are compared."""

    name: str  # "mlp", or "mlp, depth 8, batch 16" where several are compared
    network: str  # "multilayer perceptron 64-64-64-64-10, ReLU"
    batch_size: int
    optimizer: str
    steps: int
    grid: tuple[float, ...]  # learning rates scanned
    grid_extended: bool
    scan_seeds: tuple[int, ...]
    seeds: tuple[int, ...]
    baseline: str
    target: float | None  # the validation metric that "faster" is measured to
    target_reason: str
    comparisons: int  # variants against the baseline: the family that verdicts allow for
    variants: tuple[VariantResult, ...]
    claims: tuple[Claim, ...]
    notes: tuple[str, ...] = ()  # what was left out of this setting, and why
    recommendation: Recommendation | None = None
    depth: int | None = None  # where several depths are compared
    train_share: float = 1.0  # share of the training rows that is used


@dataclass(frozen=True)
class GradientProbe:
    """Growth of the squared gradient norm per layer at initialisation of a wide deep ReLU network, against theory."""

    width: int
    depth: int
    batch_size: int
    seeds: int
    names: tuple[str, ...]  # "He initialisation", "variance 1/n", "Batch Normalization"
    measured: tuple[Estimate, ...]
    oracle: tuple[float, ...]
    curves: tuple[tuple[float, ...], ...]  # squared gradient norm by layer, relative to the last layer


@dataclass(frozen=True)
class ReferenceResult:
    """A model that is no network, on the same splits: whether a network is worth it at all.

    Attributes:
        name: "majority class", "mean", "linear", "gradient boosting".
        description: the estimator and its options.
        seeds: the seeds of `values`, whose splits are those of the networks.
        values: test metric per seed; None where it could not be fitted.
        median: of the values that are there.
        seconds: median fit time.
        note: what was done to keep it within time, or why there is no value; "" otherwise.
    """

    name: str
    description: str
    seeds: tuple[int, ...]
    values: tuple[float | None, ...]
    median: float | None
    seconds: float | None
    note: str = ""


@dataclass(frozen=True)
class MoreSeeds:
    """How to decide what is undecided.

    Attributes:
        command: to paste into a terminal.
        seeds: the number of fresh seeds it asks for.
        decides: the undecided lines that this many seeds would decide if their effects are as large as they look, as
            "claim: variant".
    """

    command: str
    seeds: int
    decides: tuple[str, ...]


@dataclass(frozen=True)
class Reproduction:
    """What somebody else needs to get the same numbers."""

    command: str
    directory: str
    spec: dict[str, Any]
    versions: dict[str, str]
    machine: dict[str, str]
    created: str
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """The whole answer.

    Attributes:
        partial: trials that were planned are missing, because the run was interrupted.
        study: the question by name ("norm", "regularize", …), or "" where it was put together freely.
        exploratory: a first look with too few seeds; no claim carries a verdict.
        shed: what was left out of the question to keep within the budget, a sentence each.
        references: models that are no networks.
        more_seeds: None where nothing is undecided, or more seeds would not decide it.
        trials: every trial as a flat row: the columns of its description, its outcome, its final metrics.
    """

    question: str
    data: DataSummary
    settings: tuple[Setting, ...]
    probe: GradientProbe | None
    reproduction: Reproduction
    trials: tuple[dict[str, str | float | int | None], ...]
    planned: int
    finished: int
    failed: int
    partial: bool = False
    study: str = ""
    exploratory: bool = False
    shed: tuple[str, ...] = ()
    references: tuple[ReferenceResult, ...] = ()
    more_seeds: MoreSeeds | None = None
    schema: int = SCHEMA_VERSION
