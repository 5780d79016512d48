"""What is compared: a normalization, where it stands, and the regularization beside it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from normwise.compare.problems import first_problem
from normwise.errors import ArgumentError, explain, unknown_name

Position = Literal["before", "after"]

NORMS = ("none", "batch", "layer", "group", "instance", "rms", "weight")
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
        norm: "none", "batch", "layer", "group", "group:4", "instance", "rms" or "weight".
        position: the normalization stands before or after the activation.
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
        kind, separator, groups = value.partition(":")
        if kind not in NORMS:
            raise unknown_name("compare", "normalization", kind, NORMS)
        if separator and (kind != "group" or not groups.isdigit() or int(groups) < 1):
            raise ValueError("only group takes a number of groups, at least 1, as in group:4")
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
    def name(self) -> str:
        """A short name that says what differs from a plain network.

        >>> Variant(norm="batch", position="after", dropout=0.2).name
        'batch after + dropout 0.2'
        """
        position = " after" if self.position == "after" and self.norm not in ("none", "weight") else ""
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
        # "none" says something only where there is nothing else to say.
        return " + ".join(parts[1:] if parts[0] == "none" and len(parts) > 1 else parts)


def _is_positive(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


def product(
    *,
    norms: Sequence[str],
    positions: Sequence[Position] = ("before",),
    dropouts: Sequence[float] = (0.0,),
    l1: Sequence[float] = (0.0,),
    l2: Sequence[float] = (0.0,),
    weight_decays: Sequence[float] = (0.0,),
    augments: Sequence[tuple[str, ...]] = ((),),
) -> tuple[Variant, ...]:
    """Every combination, once: a position makes no difference to a network without an activation normalization.

    >>> [v.name for v in product(norms=["none", "batch"], positions=["before", "after"])]
    ['none', 'batch', 'batch after']
    """
    seen: dict[str, Variant] = {}
    for norm, position, dropout, a, b, decay, augment in itertools.product(
        norms, positions, dropouts, l1, l2, weight_decays, augments
    ):
        placed: Position = "before" if norm in ("none", "weight") else position
        try:
            variant = Variant(
                norm=norm, position=placed, dropout=dropout, l1=a, l2=b, weight_decay=decay, augment=augment
            )
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
