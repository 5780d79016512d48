"""What is compared: a normalization, where it stands, and the regularization beside it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from normwise.compare.problems import first_problem
from normwise.errors import ArgumentError, explain, unknown_name
from normwise.norms import COMPARED, KINDS, OWN, OWN_KIND, Kind, problem_of

Position = Literal["before", "after"]

NORMS = COMPARED
"""What is compared where nobody names any; all names are in `normwise.norms.KINDS`."""

SCHEMES = ("he", "xavier", "orthogonal", "lsuv", "gaussian", "own")
"""`own` is the draw that a model's builder makes; the other schemes draw anew."""

AUGMENTATIONS = (
    *("flip", "shift", "rotate", "scale", "crop", "brightness", "erase"),
    *("randaugment", "trivialaugment", "augmix", "noise", "swap", "drop", "mixup", "cutmix", "mosaic"),
)
"""Those of `normwise.augment` for images and for tables."""


class Variant(BaseModel):
    """One way to train the network.

    Attributes:
        norm: one of `normwise.norms.KINDS`, such as "none", "batch" or "group:4"; or "own", of a user's model, which
            leaves it its own.
        position: the normalization stands before or after the activation, unless it lies in weights or holds its own.
        dropout: drop rate after every hidden layer (channel-wise after convolutions).
        l1: strength λ of λ·Σ|w|, applied as a proximal step after the optimizer's, so that weights reach exact zeros.
        l2: strength λ of λ/2·Σw², added to the loss.
        weight_decay: decoupled from norms and biases; given to the optimizer.
        augment: augmentations, such as "shift" or "rotate:10" of images, "swap:0.1" of tables, "mixup" of either.
        norm_output: also normalize the output layer.
        init: an initialization of its own, such as "xavier" or "he:0.1"; "" takes the question's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    norm: str = "none"
    position: Position = "before"
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    l1: float = Field(0.0, ge=0.0, allow_inf_nan=False)
    l2: float = Field(0.0, ge=0.0, allow_inf_nan=False)
    weight_decay: float = Field(0.0, ge=0.0, allow_inf_nan=False)
    augment: tuple[str, ...] = ()
    norm_output: bool = False
    init: str = ""

    @field_validator("norm")
    @classmethod
    def _known_norm(cls, value: str) -> str:
        kind_named(value)
        problem = "" if value == OWN else problem_of(value)
        if problem:
            raise ValueError(problem)
        return value

    @field_validator("augment")
    @classmethod
    def _known_augmentations(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for augmentation in value:
            if augmentation.partition(":")[0] not in AUGMENTATIONS:
                raise unknown_name("compare", "augmentation", augmentation.partition(":")[0], AUGMENTATIONS)
        return value

    @field_validator("init")
    @classmethod
    def _known_initialization(cls, value: str) -> str:
        scheme, _, scale = value.partition(":")
        if value and scheme not in SCHEMES:
            raise unknown_name("compare", "initialization", scheme, SCHEMES)
        if scale and not _is_positive(scale):
            raise ValueError("an initialization's factor must be a positive number, as in he:0.1")
        return value

    @property
    def kind(self) -> Kind:
        """What is known of its normalization."""
        return kind_named(self.norm)

    @property
    def name(self) -> str:
        """A short name that says what differs from a plain network.

        >>> Variant(norm="batch", position="after", dropout=0.2).name
        'batch after + dropout 0.2'
        >>> Variant(init="xavier").name, Variant(init="orthogonal").name, Variant(norm="orthogonal").name
        ('xavier', 'none + orthogonal', 'orthogonal')
        """
        position = " after" if self.position == "after" and self.kind.has_position else ""
        parts = [self.norm + position + (" + output" if self.norm_output else "")]
        parts += [
            f"{word} {value:g}"
            for word, value in (
                ("dropout", self.dropout),
                ("L1", self.l1),
                ("L2", self.l2),
                ("decay", self.weight_decay),
            )
            if value
        ]
        if self.augment:
            parts.append(", ".join(self.augment))
        if self.init:
            scheme, _, scale = self.init.partition(":")
            parts.append(scheme + (f" ×{float(scale):g}" if scale else ""))
        # "none" says something only where there is nothing else to say, or what is said is a normalization's name.
        silent = parts[0] == "none" and len(parts) > 1 and not _is_norm(parts[1])
        return " + ".join(parts[1:] if silent else parts)


def as_it_is(variant: Variant) -> Variant:
    """The same, and of a user's model as it is where the variant says nothing of a normalization."""
    return variant if "norm" in variant.model_fields_set else variant.model_copy(update={"norm": OWN})


def kind_named(norm: str) -> Kind:
    """What is known of a variant's normalization."""
    if norm == OWN:
        return OWN_KIND
    if norm.partition(":")[0] not in KINDS:
        raise unknown_name("compare", "normalization", norm.partition(":")[0], [*KINDS, OWN])
    return KINDS[norm.partition(":")[0]]


def _is_norm(part: str) -> bool:
    """Whether a part of a name reads as a normalization: an initialization and an augmentation are called alike."""
    return part.partition(":")[0] in (OWN, *KINDS)


def _is_positive(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


def product(
    *,
    norms: Sequence[str] | None,
    positions: Sequence[Position] = ("before",),
    dropouts: Sequence[float] = (0.0,),
    l1: Sequence[float] = (0.0,),
    l2: Sequence[float] = (0.0,),
    weight_decays: Sequence[float] = (0.0,),
    augments: Sequence[tuple[str, ...]] = ((),),
) -> tuple[Variant, ...]:
    """Every combination, once: a position makes no difference to a network without an activation normalization.

    Without `norms` the variants say nothing of a normalization.

    >>> [v.name for v in product(norms=["none", "batch"], positions=["before", "after"])]
    ['none', 'batch', 'batch after']
    """
    seen: dict[str, Variant] = {}
    for norm, position, dropout, a, b, decay, augment in itertools.product(
        (None,) if norms is None else norms, positions, dropouts, l1, l2, weight_decays, augments
    ):
        fields = {"dropout": dropout, "l1": a, "l2": b, "weight_decay": decay, "augment": augment}
        if norm is not None:
            fields |= {"norm": norm, "position": position if kind_named(norm).has_position else "before"}
        try:
            variant = Variant.model_validate(fields)
        except ValidationError as error:
            raise first_problem(error, Variant.model_fields) from None
        seen.setdefault(variant.name, variant)
    return tuple(seen.values())


def parse_variant(text: str) -> dict[str, object]:
    """Read "norm=batch,dropout=0.2,position=after" into the fields of a variant; augmentations are joined by "+".

    >>> parse_variant("norm=batch,dropout=0.2")
    {'norm': 'batch', 'dropout': '0.2'}
    """
    fields: dict[str, object] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, separator, value = (part.strip() for part in item.partition("="))
        if not separator or key not in Variant.model_fields or key in fields:
            raise ArgumentError(
                explain(
                    "compare",
                    f"`--variant` must be key=value, once each, with keys of {', '.join(Variant.model_fields)}",
                    repr(item),
                    "write for example --variant norm=batch,dropout=0.2",
                )
            )
        fields[key] = tuple(value.split("+")) if key == "augment" else value
    if not fields:
        raise ArgumentError(
            explain("compare", "`--variant` must name something", repr(text), "write --variant norm=none")
        )
    return fields
