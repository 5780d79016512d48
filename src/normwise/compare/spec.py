"""The question: everything that determines a comparison, validated and frozen."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from normwise.compare.network_spec import (
    DEEPEST,
    Frozen,
    Initialization,
    Network,
    NetworkKind,
    known_activation,
)
from normwise.compare.problems import first_problem
from normwise.compare.variant import NORMS, Variant, as_it_is, kind_named, product
from normwise.errors import ArgumentError, explain, unknown_name
from normwise.norms import OWN

OptimizerName = Literal["sgd", "adam", "adamw"]

SCAN_SEED_BASE = 1_000_000
"""Seeds of the learning-rate scan start here, so that they are never among the fresh ones."""

DEFAULT_BUDGET = 180.0
"""Seconds that a comparison keeps within unless told otherwise."""

LEARNING_RATES: dict[str, tuple[float, ...]] = {
    "sgd": (0.01, 0.1, 1.0),
    "adam": (0.0001, 0.001, 0.01, 0.1),
    "adamw": (0.0001, 0.001, 0.01, 0.1),
}

STUDIES = {
    "norm": "Batch, Layer, Group, Instance, RMS and Weight Normalization, as far as they fit, against none",
    "regularize": "L1, L2, dropout, augmentation, Batch Normalization, on all and on few training rows",
    "init": "He, Xavier, orthogonal, LSUV and their scales, with and without Batch Normalization",
    "batch": "normalizations at batch sizes down to 2",
    "position": "Batch Normalization before and after the activation, and on the output",
    "depth": "normalizations from shallow to deep networks",
    "article": "the network that tutorials show, 20-64-32-1, on breast_cancer's first 20 columns",
}
"""Questions by name; what each asks is in `normwise.compare.studies`."""


class Spec(Frozen):
    """The whole question.

    Attributes:
        data: name or path of the data.
        target, task, image_size, drop, group, time, test_data: as `normwise.data.load` takes them.
        study: a question by name; it answers what was not asked for explicitly.
        networks: compared separately, never with each other; none leaves the choice to the data: an mlp, and for
            images a cnn beside it.
        activation: of the networks that the data chooses.
        variants: None takes those of the usual normalizations that fit the network.
        baseline: name of the variant the others are held against; None takes the first.
        initializations: the first is the main one; the others show the sensitivity to it.
        lrs: the grid of the scan, at least one; None takes decades that fit the optimizer.
        batch_sizes, depths, optimizers, train_shares: each combination is a setting of its own; no depth takes the
            network as it is, and a share is of the training rows.
        steps, epochs: length of a training; at most one of the two.
        seeds: number of fresh seeds that the answer rests on.
        scan_seeds: number of other seeds that learning rates are chosen on.
        exploratory: a first look; numbers without verdicts.
        metric: None takes accuracy or rmse, and AUC or macro-F1 where a class is rare.
        goal: the validation metric that "faster" is measured to; None takes the level that the baseline reaches.
        margin: differences within ± margin count as none; None takes half a percentage point or 1 % of the error.
        probe: measure gradient growth of a wide deep network against theory beside the trainings.
        references: fit models that are no networks beside them.
    """

    data: str = "digits"
    target: str | None = None
    task: Literal["classification", "regression"] | None = None
    image_size: int | None = Field(None, ge=1)
    drop: tuple[str, ...] = ()
    group: str | None = None
    time: str | None = None
    test_data: str | None = None
    study: str = "norm"
    networks: tuple[Network, ...] = ()
    activation: str = "relu"
    variants: tuple[Variant, ...] | None = None
    baseline: str | None = None
    initializations: tuple[Initialization, ...] = (Initialization(), Initialization(scale=0.1))
    lrs: tuple[float, ...] | None = None
    batch_sizes: tuple[int, ...] = (64,)
    depths: tuple[int, ...] = ()
    optimizers: tuple[OptimizerName, ...] = ("sgd",)
    train_shares: tuple[float, ...] = (1.0,)
    steps: int | None = Field(None, ge=1)
    epochs: float | None = Field(None, gt=0, allow_inf_nan=False)
    seeds: int = Field(5, ge=1, le=10_000)
    scan_seeds: int = Field(5, ge=1, le=1000)
    exploratory: bool = False
    metric: str | None = None
    goal: float | None = Field(None, allow_inf_nan=False)
    margin: float | None = Field(None, gt=0, allow_inf_nan=False)
    probe: bool = True
    references: bool = True

    _known_activation = field_validator("activation")(known_activation)

    @field_validator("lrs")
    @classmethod
    def _rates(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is None:
            return None
        if not value or not all(0 < lr < float("inf") for lr in value):
            raise ValueError("every learning rate must be positive and finite")
        return tuple(sorted(set(value)))

    @field_validator("batch_sizes", "depths")
    @classmethod
    def _counts(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(count < 1 for count in value):
            raise ValueError("every batch size and depth must be at least 1")
        return tuple(dict.fromkeys(value))

    @field_validator("depths")
    @classmethod
    def _within_reach(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(depth > DEEPEST for depth in value):
            raise ValueError(f"every depth must be at most {DEEPEST:,}")
        return value

    @field_validator("train_shares")
    @classmethod
    def _shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < share <= 1 for share in value):
            raise ValueError("every share of the training rows must be above 0 and at most 1")
        return value

    @field_validator("study")
    @classmethod
    def _known_study(cls, value: str) -> str:
        if value not in STUDIES:
            raise unknown_name("compare", "study", value, STUDIES)
        return value

    @field_validator("initializations", "batch_sizes", "optimizers", "train_shares")
    @classmethod
    def _some(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if not value:
            raise ValueError("there must be at least one")
        return tuple(dict.fromkeys(value))

    @field_validator("networks")
    @classmethod
    def _one_of_a_kind(cls, value: tuple[Network, ...]) -> tuple[Network, ...]:
        found = tuple(dict.fromkeys(value))
        if len({network.kind for network in found}) < len(found):
            raise ValueError("give each kind of network once; several depths are for `depths`")
        return found

    @field_validator("variants")
    @classmethod
    def _told_apart(cls, value: tuple[Variant, ...] | None) -> tuple[Variant, ...] | None:
        if value is None:
            return None
        found = tuple(dict.fromkeys(value))
        names = [variant.name for variant in found]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two variants named {twice!r} train the same network; leave one away")
        return found

    @model_validator(mode="after")
    def _one_length(self) -> Spec:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("give `steps` or `epochs`, not both")
        return self

    def variants_for(self, kind: NetworkKind) -> tuple[Variant, ...]:
        """The variants compared on a network of that kind, which not every normalization fits."""
        if self.variants is None:
            return product(norms=[norm for norm in NORMS if _fits(norm, kind)])
        return tuple(variant for variant in self.variants if _fits(variant.norm, kind))

    def initialization_of(self, variant: Variant) -> Initialization:
        """What a variant is initialised with, the main one of the question unless it brings its own."""
        if not variant.init:
            return self.initializations[0]
        scheme, _, scale = variant.init.partition(":")
        return Initialization(scheme=scheme, scale=float(scale or 1.0))

    def initializations_of(self, variant: Variant) -> tuple[Initialization, ...]:
        """All that it is trained from: its main one, and those that show the sensitivity to it."""
        return (self.initialization_of(variant), *self.initializations[1:])

    def baseline_for(self, kind: NetworkKind) -> str:
        """The name of the variant that the others are held against."""
        names = [variant.name for variant in self.variants_for(kind)]
        if self.baseline is None:
            return next((name for name in (OWN, "none") if name in names), names[0])
        if self.baseline not in names:
            raise unknown_name("compare", "baseline", self.baseline, names)
        return self.baseline

    def identity(self, fingerprint: str) -> str:
        """A hash of the question without its number of seeds: runs of one identity extend each other."""
        question = self.model_dump(mode="json", exclude={"seeds"})
        text = json.dumps([question, fingerprint], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _fits(norm: str, kind: NetworkKind) -> bool:
    """Some need positions, of which a multilayer perceptron has none; what a user's model takes is seen later."""
    known = kind_named(norm)
    return {
        "mlp": known.fits_features and norm != OWN,
        "cnn": known.fits_images and norm != OWN,
        "model": True,
    }[kind]


def make_spec(fields: dict[str, Any]) -> Spec:
    """Validate plain values into a Spec.

    Args:
        fields: of `Spec`; `norms` may stand for variants that differ in the normalization alone.

    Raises:
        ArgumentError, UnknownNameError: a field is unknown or has a value that cannot be; one line for the first.

    >>> [variant.name for variant in make_spec({"norms": "none,batch"}).variants]
    ['none', 'batch']
    """
    if "norms" in fields:
        if fields.get("variants") is not None:
            raise ArgumentError(
                explain(
                    "compare", "`norms` is short for `variants`", "both", "write the normalizations there"
                )
            )
        norms = fields["norms"]
        fields = {name: value for name, value in fields.items() if name != "norms"}
        fields["variants"] = product(norms=norms.split(",") if isinstance(norms, str) else norms)
    try:
        spec = Spec.model_validate(fields)
    except ValidationError as error:
        raise first_problem(error, Spec.model_fields) from None
    if spec.variants and spec.networks and all(network.kind == "model" for network in spec.networks):
        return spec.model_copy(update={"variants": tuple(map(as_it_is, spec.variants))})
    return spec
