"""Programs that train well: a rule that gives them, and the bar that each was seen to pass."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from normwise.diagnose.facts import RunFacts
from normwise.testing.faults.program import Program, pick

BEST: Mapping[str, float] = MappingProxyType(
    {
        "digits": 0.985,
        "wine": 1.0,
        "breast_cancer": 0.965,
        "clusters": 0.945,
        "rings": 0.985,
        "friedman": 0.9,
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


_SHORT: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "mlp": (12, 26, 35, 40, 51, 61, 65, 69, 73, 83, 89, 99),
        "cnn": (20, 56),
        "residual": (6, 8),
    }
)
"""Candidates by number whose training of seed 0 falls short of `SHARE`, or passes it by less than 2 points."""


def candidates(architecture: str) -> list[Program]:
    """Programs whose choices are drawn by a hash of what they are for; not all of them train well."""
    options = _OPTIONS[architecture] | _COMMON
    if architecture != "transformer":
        options = options | {"initialization": _INITIALIZATIONS}
    found = []
    for index in range(_COUNTS[architecture]):
        drawn = {name: pick(values, f"{architecture} {index} {name}") for name, values in options.items()}
        found.append(Program(**(_USUAL[architecture] | drawn), architecture=architecture))
    return found


def healthy_programs() -> tuple[Program, ...]:
    """Programs that were seen to cover `SHARE` of the way."""
    passed = [
        program
        for architecture in _COUNTS
        for index, program in enumerate(candidates(architecture))
        if index not in _SHORT.get(architecture, ()) and not _flattened(program)
    ]
    return tuple(dict.fromkeys(passed))


def _flattened(program: Program) -> bool:
    """Whether a pool over positions follows an instance normalization, which gives every image the same means."""
    return program.architecture == "cnn" and program.norm == "instance"


def way(seen: RunFacts, data: str) -> float:
    """How much of the way from the best constant answer to `BEST` a training covers, on held-out samples."""
    return (seen.evaluated[-1].validation_metric - seen.baseline) / (BEST[data] - seen.baseline)
