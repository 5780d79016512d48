"""One variant in one setting: what its trainings showed."""

from __future__ import annotations

from dataclasses import dataclass

from normwise.results.estimate import Estimate, Interval


@dataclass(frozen=True)
class Curve:
    """A quantity over training: median over seeds and the band of the middle half, at common steps."""

    steps: tuple[int, ...]
    seconds: tuple[float, ...]  # median training seconds at those steps
    median: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]


@dataclass(frozen=True)
class LearningRatePoint:
    """What one learning rate gave on validation, per seed of the scan."""

    lr: float
    values: tuple[float | None, ...]  # validation metric at the end, one per seed; None where it diverged
    median: float | None
    diverged: int
    runs: int
    divergence_interval: Interval  # Wilson


@dataclass(frozen=True)
class InitSpread:
    """The final test metric under one initialisation, per fresh seed."""

    initialization: str  # "he ×1", "he ×0.1"
    values: tuple[float | None, ...]
    median: float | None
    diverged: int


@dataclass(frozen=True)
class GradientFlow:
    """RMS of the loss gradient by hidden layer, first to last; medians over seeds.

    A slope is the factor per layer of the squared gradient norm (RMS² times the layer's elements) going back towards
    the input, fitted in logs: 1 is level, below 1 vanishes and above 1 explodes. None where it cannot be fitted (under
    3 layers, or a gradient of zero).
    """

    layers: tuple[str, ...]
    start: tuple[float | None, ...]
    end: tuple[float | None, ...]
    start_slope: float | None
    end_slope: float | None
    start_slope_interval: Interval
    end_slope_interval: Interval


@dataclass(frozen=True)
class ActivationPercentiles:
    """15/50/85 percentiles over a batch of one unit of the last hidden pre-activation, in one seed.

    Source: the figure of Ioffe & Szegedy 2015, section 4.1.
    """

    steps: tuple[int, ...]
    p15: tuple[float | None, ...]
    p50: tuple[float | None, ...]
    p85: tuple[float | None, ...]


@dataclass(frozen=True)
class FinalSeed:
    """The end of one fresh seed at the variant's tuned learning rate."""

    seed: int
    train: float | None
    validation: float | None
    test: float | None
    diverged: bool


@dataclass(frozen=True)
class CostResult:
    """Milliseconds of one training step, alternating with the other variants in one otherwise idle process."""

    milliseconds: float
    low: float  # quartiles over bursts
    high: float
    ratio: Estimate  # to the baseline; above 1 is slower


@dataclass(frozen=True)
class VariantResult:
    """One variant in one setting."""

    name: str
    description: str
    parameters: int
    tuned_lr: float
    fastest_lr: (
        float | None
    )  # of the scan: fewest steps to the target; None where no learning rate reached it
    tuned_at_edge: bool  # the best learning rate is the grid's last one even after the grid was extended
    scan: tuple[LearningRatePoint, ...]
    validation_curve: Curve  # at the tuned learning rate, fresh seeds
    train_loss_curve: Curve
    fixed_validation_curve: Curve  # at the baseline's tuned learning rate, fresh seeds
    steps_to_target: tuple[float | None, ...]  # per fresh seed, tuned learning rate; None is right-censored
    seconds_to_target: tuple[float | None, ...]
    initializations: tuple[InitSpread, ...]
    gradient: GradientFlow
    percentiles: ActivationPercentiles
    final: tuple[FinalSeed, ...]
    gap: Estimate  # train − test metric, signed so that positive is overfitting
    cost: CostResult | None  # None where a run was interrupted before step times were taken
    dead_fraction: float | None  # at the end, mean over hidden layers, median over seeds
    correlation: float | None  # mean absolute correlation between channels, the same
    activation_std: tuple[float | None, ...]  # at the end, by hidden layer
    train_eval_discrepancy: (
        float | None
    )  # relative difference of the final train loss in the two modes, median
    diverged: int
    runs: int
    divergence_interval: Interval
    failed: int  # trials that raised
    sparsity: float | None = None  # share of weights that are exactly zero at the end, median over seeds
    norm: str = ""  # the normalization, as `Variant.norm`
    penalties: dict[str, float] | None = (
        None  # "dropout", "l1", "l2", "weight_decay": those that are not zero
    )
