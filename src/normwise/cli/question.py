"""From the options of `normwise compare` to the variants and networks that they ask for; torch is not imported."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from normwise.cli.options import decimals, integers, words
from normwise.compare.variant import NORMS, Position, parse_variant, product
from normwise.errors import ArgumentError, explain, unknown_name

_NEXT_PAIR = re.compile(r",\s*[A-Za-z_]\w*=")

OPTION_OF = {"widths": "width"}


def variants(
    full: Sequence[str] | None,
    *,
    norm: Sequence[str] | None,
    position: Sequence[str] | None,
    dropout: Sequence[str] | None,
    l1: Sequence[str] | None,
    l2: Sequence[str] | None,
    weight_decay: Sequence[str] | None,
    augment: Sequence[str] | None,
    own_model: bool = False,
) -> list[Any]:
    """The variants given in full, or the product of the others; empty where nothing was asked for."""
    factors = (norm, position, dropout, l1, l2, weight_decay, augment)
    if full:
        if any(factors):
            raise ArgumentError(
                explain(
                    "compare",
                    "`--variant` gives whole variants and cannot be mixed with options that multiply",
                    "both",
                    "write them all as --variant norm=…,dropout=…",
                )
            )
        return [parse_variant(text) for text in full]
    if not any(factors):
        return []
    # Of a model of the user's, what was asked for is varied alone.
    norms = None if own_model else NORMS
    augments = [() if word == "none" else tuple(word.split("+")) for word in words(augment)]
    return list(
        product(
            norms=words(norm) or norms,
            positions=_positions(position),
            dropouts=decimals("--dropout", dropout) or [0.0],
            l1=decimals("--l1", l1) or [0.0],
            l2=decimals("--l2", l2) or [0.0],
            weight_decays=decimals("--weight-decay", weight_decay) or [0.0],
            augments=augments or [()],
        )
    )


def _positions(typed: Sequence[str] | None) -> list[Position]:
    known: dict[str, Position] = {"before": "before", "after": "after"}
    asked = words(typed) or ["before"]
    for word in asked:
        if word not in known:
            raise unknown_name("compare", "position", word, known)
    return [known[word] for word in asked]


def networks(
    network: Sequence[str] | None,
    *,
    model: str | None,
    model_args: Sequence[str] | None,
    width: Sequence[str] | None,
    channels: Sequence[str] | None,
    head: Sequence[str] | None,
    reduce: str | None,
    activation: str | None,
    residual: bool,
) -> list[dict[str, Any]]:
    """The networks asked for, each with the options of its kind; empty leaves the choice to the data."""
    if model_args and model is None:
        raise ArgumentError(
            explain("compare", "`--model-args` are of a model", "no --model", "add --model file.py:name")
        )
    own = [] if model is None else [{"kind": "model", "model": model, "model_args": _pairs(model_args)}]
    shapes: dict[str, dict[str, Any]] = {"mlp": {}, "cnn": {}}
    if width:
        shapes["mlp"]["widths"] = integers("--width", width)
    if channels:
        shapes["cnn"]["channels"] = integers("--channels", channels)
    if head:
        shapes["cnn"]["head"] = integers("--head", head)
    if reduce is not None:
        shapes["cnn"]["reduce"] = reduce
    if residual:
        shapes["cnn"]["residual"] = True
    # Options of a network's shape name the network that they shape.
    kinds = words(network) or [kind for kind, shape in shapes.items() if shape]
    for kind, shape in shapes.items():
        if shape and kind not in kinds:
            options = ", ".join(f"--{OPTION_OF.get(name, name)}" for name in shape)
            raise ArgumentError(
                explain(
                    "compare",
                    f"{options} shapes the {kind}",
                    f"--network {','.join(kinds)}",
                    f"add {kind} to it",
                )
            )
    common = {} if activation is None else {"activation": activation}
    if "model" in kinds:
        raise ArgumentError(
            explain(
                "compare", "a network of yours needs its place", "--network model", "use --model file.py:name"
            )
        )
    return [{**network, **common} for network in own] + [
        {"kind": kind, **shapes.get(kind, {}), **common} for kind in kinds
    ]


def _pairs(typed: Sequence[str] | None) -> tuple[tuple[str, str], ...]:
    """Read "width=128"; a value may hold commas, so that only repetition gives several."""
    found: dict[str, str] = {}
    for text in typed or ():
        name, separator, value = (part.strip() for part in text.partition("="))
        several = _NEXT_PAIR.search(value)
        if not separator or not name.isidentifier() or name in found or several:
            raise ArgumentError(
                explain(
                    "compare",
                    "`--model-args` must be one name=value, once for each name",
                    repr(text),
                    "write --model-args width=128 --model-args depth=3",
                )
            )
        found[name] = value
    return tuple(found.items())


def initializations(typed: Sequence[str] | None) -> list[dict[str, Any]]:
    """Read "he", "he:0.1", …: a scheme and a factor on its standard deviation."""
    parts = [word.partition(":") for word in words(typed)]
    return [{"scheme": scheme, "scale": scale or 1.0} for scheme, _, scale in parts]
