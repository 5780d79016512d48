"""A fault: one edit of a clean program, with the name and the place that a diagnosis should give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from torch import nn

from normwise.diagnose.subject import Data, Setup
from normwise.testing.faults.datasets import SETS
from normwise.testing.faults.program import Program, Training, pick

Family = Literal["structure", "numerics", "state", "data", "dynamics"]
Kind = Literal["any", "classification", "regression", "columns"]
"""Of data: "columns" has several columns or channels."""

ARCHITECTURES = ("mlp", "cnn", "residual", "transformer")

_DATA: dict[str, tuple[str, ...]] = {
    "mlp": ("clusters", "breast_cancer", "digits", "friedman", "wine", "rings"),
    "cnn": ("digits", "textures", "spots"),
    "residual": ("digits", "textures", "spots"),
    "transformer": ("digits", "spots", "motifs", "wine"),
}
_REGRESSIONS = {"friedman", "spots"}
_COLUMNS = {"clusters", "breast_cancer", "friedman", "wine", "textures", "motifs"}
_USUAL: dict[str, dict[str, Any]] = {
    "mlp": {"width": 48},
    "cnn": {"width": 16},
    "residual": {"width": 16},
    "transformer": {"width": 24, "depth": 2, "initialization": "xavier"},
}
_VARIED: dict[str, dict[str, tuple[Any, ...]]] = {
    "mlp": {"norm": ("none", "batch", "layer"), "depth": (3, 4)},
    "cnn": {"norm": ("batch", "none", "group"), "depth": (3, 4)},
    "residual": {"norm": ("batch", "group"), "depth": (3, 4)},
    "transformer": {"norm": ("layer", "rms")},
}
_EVERYWHERE: dict[str, tuple[Any, ...]] = {
    "activation": ("relu", "gelu", "leaky_relu", "silu"),
    "optimizer": ("momentum", "adam", "adamw"),
}


@dataclass(frozen=True, eq=False)
class Edited:
    """A training with a fault in it.

    Attributes:
        training: what an edit made.
        layers: each name under which the place of the fault may be given; "" for the training as a whole.
    """

    training: Training
    layers: tuple[str, ...]


Edit = Callable[[Program, int], Edited]
"""(clean program, seed) → the training with the fault."""


@dataclass(frozen=True, eq=False)
class Fault:
    """A single edit of clean programs.

    Attributes:
        name: in words with hyphens.
        family: what kind of mistake it is.
        codes: of the rules that name it rightly; the first is the best name.
        description: in one line.
        edit: what makes the fault.
        architectures: to which it applies.
        needs: fields of the clean program that the edit relies on.
        kind: of data that it needs.
    """

    name: str
    family: Family
    codes: tuple[str, ...]
    description: str
    edit: Edit
    architectures: tuple[str, ...] = ARCHITECTURES
    needs: Mapping[str, Any] = field(default_factory=dict)
    kind: Kind = "any"

    def program(self, architecture: str) -> Program:
        """The clean program of an architecture that the fault is put into; what is free follows from the names."""
        choices = {"data": _data(architecture, self.kind), **_VARIED[architecture], **_EVERYWHERE}
        picked = {
            name: pick(options, f"{self.name} {architecture} {name}") for name, options in choices.items()
        }
        needs = {name: value for name, value in self.needs.items() if name not in ARCHITECTURES}
        return Program(
            **(
                {"architecture": architecture}
                | _USUAL[architecture]
                | picked
                | needs
                | self.needs.get(architecture, {})
            )
        )


def _data(architecture: str, kind: Kind) -> tuple[str, ...]:
    """The data sets of an architecture that are of a kind."""
    kinds: dict[Kind, set[str]] = {
        "classification": set(SETS) - _REGRESSIONS,
        "regression": _REGRESSIONS,
        "columns": _COLUMNS,
        "any": set(SETS),
    }
    return tuple(name for name in _DATA[architecture] if name in kinds[kind])


def on_model(change: Callable[[nn.Module], Sequence[str]]) -> Edit:
    """An edit of the network, in place; `change` returns the layers at fault."""

    def edit(program: Program, seed: int) -> Edited:
        training = program.training(seed)
        return Edited(training, tuple(change(training.setup.model)))

    return edit


def on_data(change: Callable[[Data], Data]) -> Edit:
    """An edit of the data."""

    def edit(program: Program, seed: int) -> Edited:
        training = program.training(seed)
        return Edited(replace(training, data=change(training.data)), ("",))

    return edit


def on_setup(change: Callable[[Setup], Setup], *where: Callable[[nn.Module], Sequence[str]]) -> Edit:
    """An edit of what trains the network; at fault is the training, or what `where` gives."""

    def edit(program: Program, seed: int) -> Edited:
        training = program.training(seed)
        layers = [name for find in where for name in find(training.setup.model)]
        return Edited(replace(training, setup=change(training.setup)), ("", *layers))

    return edit


def on_program(where: Callable[[nn.Module], Sequence[str]], **fields: Any) -> Edit:
    """An edit of fields of the program; `where` gives the layers at fault."""

    def edit(program: Program, seed: int) -> Edited:
        training = replace(program, **fields).training(seed)
        return Edited(training, tuple(where(training.setup.model)))

    return edit
