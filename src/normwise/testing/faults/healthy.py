"""Programs that train well: a rule that gives them, and the bar that each was seen to pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from normwise.testing.faults.program import Program, pick

BEST: Mapping[str, float] = MappingProxyType(
    {
        "digits": 0.99,
        "wine": 1.0,
        "breast_cancer": 0.97,
        "diabetes": 0.45,
        "clusters": 0.96,
        "rings": 0.96,
        "friedman": 0.85,
        "textures": 1.0,
        "spots": 1.0,
        "motifs": 1.0,
    }
)
"""The best held-out metric that the programs here reach on each data set: accuracy, or R²."""

SHARE = 0.85
"""Of the way from the best constant answer to the best metric, what a healthy program covers."""

_USUAL: dict[str, dict[str, Any]] = {
    "mlp": {"width": 48},
    "cnn": {"width": 16},
    "residual": {"width": 16},
    "transformer": {"width": 24, "depth": 2, "norm": "layer", "initialization": "xavier"},
}
_OPTIONS: dict[str, dict[str, tuple[Any, ...]]] = {
    "mlp": {
        "data": ("clusters", "breast_cancer", "digits", "friedman", "wine", "rings"),
        "norm": ("batch", "layer", "none", "group", "rms"),
        "depth": (2, 3, 4, 6),
        "width": (32, 48, 96),
    },
    "cnn": {
        "data": ("digits", "textures", "spots"),
        "norm": ("batch", "group", "layer", "none", "instance"),
        "depth": (3, 4, 5),
        "width": (12, 16),
    },
    "residual": {
        "data": ("digits", "textures", "spots"),
        "norm": ("batch", "group", "layer", "instance"),
        "depth": (3, 4),
        "width": (12, 16),
    },
    "transformer": {
        "data": ("digits", "spots", "motifs", "wine"),
        "norm": ("layer", "rms", "batch"),
        "depth": (1, 2),
        "width": (24, 32),
    },
}
_COMMON: dict[str, tuple[Any, ...]] = {
    "activation": ("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "tanh"),
    "optimizer": ("momentum", "adam", "adamw", "sgd", "nesterov", "nadam", "rmsprop", "adagrad"),
    "batch_size": (32, 16, 64),
}
_INITIALIZATIONS = ("he", "default", "orthogonal", "lsuv", "xavier")
_COUNTS = MappingProxyType({"mlp": 100, "cnn": 68, "residual": 60, "transformer": 60})
"""Candidates of each architecture."""


def candidates() -> Iterator[Program]:
    """Programs whose choices are drawn by a hash of what they are for; not all of them train well."""
    for architecture, count in _COUNTS.items():
        options = _OPTIONS[architecture] | _COMMON
        if architecture != "transformer":
            options = options | {"initialization": _INITIALIZATIONS}
        for index in range(count):
            drawn = {name: pick(values, f"{architecture} {index} {name}") for name, values in options.items()}
            yield Program(**(_USUAL[architecture] | drawn), architecture=architecture)


def healthy_programs() -> tuple[Program, ...]:
    """Programs that were seen to cover `SHARE` of the way."""
    return tuple(dict.fromkeys(candidates()))
