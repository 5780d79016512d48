"""Variants of a user's model that takes no normalization: its norms are converted or taken out, or norms put in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from normwise.compare.variant import Variant
from normwise.errors import ArgumentError, explain
from normwise.models.user import wrap_weights_
from normwise.norms import KINDS, OWN
from normwise.results.edits import Edits, named
from normwise.surgery import convert, insert, remove
from normwise.surgery._convert_kinds import TITLES
from normwise.surgery.kinds import kinds_in

_CONVERTED = tuple(name for name in TITLES if name in KINDS)


@dataclass(frozen=True)
class Standing:
    """What normalization a model brings.

    Attributes:
        kinds: names of its norms, as `nw.convert` has them; empty for a model without.
        takes_norm: whether variants can differ in their normalization.
    """

    kinds: tuple[str, ...]
    takes_norm: bool


def standing(model: nn.Module, example: Tensor) -> Standing:
    """What a model brings, and whether a norm could be put in; nothing is changed."""
    kinds = kinds_in(model)
    if kinds:
        return Standing(kinds, True)
    try:
        insert(model, "batch", example)
    except ArgumentError:
        return Standing((), False)
    return Standing((), True)


def vary(model: nn.Module, variant: Variant, example: Tensor, title: str) -> Edits | None:
    """Give a model the normalization of a variant, in place.

    Args:
        model: as its builder made it.
        variant: its normalization and position count.
        example: a batch of the inputs.
        title: of the model, for messages.

    Returns:
        What was changed and what was left alone; None where the model is as it was.

    Raises:
        ArgumentError: (a ValueError) nothing of it can be changed so.
    """
    if variant.norm == OWN:
        return None
    kinds = kinds_in(model)
    kind = variant.kind
    if kinds and (variant.norm_output or variant.position == "after"):
        must = "where a model with norms of its own normalizes, the model itself must decide"
        raise ArgumentError(explain(title, must, f"the variant {variant.name!r}", "leave that variant away"))
    if kind.weights:
        edits = remove(model, example, inplace=True)[1] if kinds else None
        wrap_weights_(model, variant.norm, title)
        return edits
    if variant.norm == "none":
        return remove(model, example, inplace=True)[1] if kinds else None
    if not kinds:
        return insert(
            model,
            variant.norm,
            example,
            where=variant.position,
            output=variant.norm_output,
            inplace=True,
        )[1]
    if kind.name not in _CONVERTED:
        must = f"norms of a model can become {', '.join(_CONVERTED)}"
        raise ArgumentError(explain(title, must, repr(variant.norm), "leave that variant away"))
    if kinds == (variant.norm,):
        return None
    edits = convert(model, kinds, variant.norm, example=example, inplace=True)[1]
    if not edits.changed:
        must = f"a norm of the model must be one that can become {variant.norm!r}"
        raise ArgumentError(explain(title, must, edits.reasons))
    return edits


def line_of(model: nn.Module, variant: Variant, example: Tensor, title: str) -> list[str]:
    """The line of code that does what `vary` does, of a program with a `model` and inputs `X`; none for nothing."""
    kinds = kinds_in(model)
    edits = vary(model, variant, example, title)
    if edits is None:
        return []
    batch = f"X[:{len(example)}]"
    arguments = {
        "insert": [
            repr(variant.norm),
            batch,
            *(['where="after"'] if variant.position == "after" else []),
            *(["output=True"] if variant.norm_output else []),
        ],
        "convert": [repr(list(kinds)), repr(variant.norm), f"example={batch}"],
        "remove": [batch],
    }[edits.operation]
    text = ", ".join(arguments).replace("'", '"')
    return [f"model, _ = nw.{edits.operation}(model, {text})"]


def described(edits: dict[str, Edits | None], kinds: Sequence[str]) -> tuple[str, ...]:
    """Sentences on where the norms of the variants stand; those of variants with the same places are one.

    Args:
        edits: of every variant, by name.
        kinds: of the norms that the model brings.
    """
    groups: dict[str, list[str]] = {}
    for variant, made in edits.items():
        if made is not None:
            groups.setdefault(_told(_bare(made)), []).append(variant)
    lines = [f"{', '.join(variants)}: {told}" for told, variants in groups.items()]
    same = [variant for variant, made in edits.items() if made is None]
    if same and kinds:
        lines.insert(0, f"{', '.join(same)}: the model as it is, with {', '.join(TITLES[k] for k in kinds)}.")
    return tuple(lines)


def _told(edits: Edits) -> str:
    names, count = named([entry.name for entry in edits.changed]), len(edits.changed)
    places = f"{names} ({count:,} places)" if count > 1 else names
    verb = {"insert": "put in behind", "convert": "in the place of", "remove": "without"}[edits.operation]
    wheres = dict.fromkeys(entry.why.partition(";")[0] for entry in edits.changed)
    where = f", {' or '.join(wheres)}" if edits.operation == "insert" else ""
    left = edits.reasons
    return f"{verb} {places}{where}" + (f"; left alone: {left}." if left else ".")


def _bare(edits: Edits) -> Edits:
    """The same with names as the user's model has them, not as they are behind what was put around it."""
    entries = (replace(entry, name=entry.name.removeprefix("network.")) for entry in edits.entries)
    return replace(edits, entries=tuple(entries))
