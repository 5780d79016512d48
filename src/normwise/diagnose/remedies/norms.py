"""Normalization put in, made another, or given the statistics of the data."""

from __future__ import annotations

from collections.abc import Sequence

from normwise.diagnose.remedies.setup import inputs_of
from normwise.diagnose.remedies.weights import initialise
from normwise.diagnose.subject import Setup
from normwise.errors import ArgumentError
from normwise.surgery import convert, insert
from normwise.surgery.recalibrate import recalibrate as recalibrated


def insert_norm(setup: Setup, kind: str = "batch", only: Sequence[str] = ("*",)) -> Setup:
    """Normalize the outputs of the model's linear layers and convolutions before their activations.

    Args:
        setup: whose model is changed.
        kind: a name of `normwise list norms`.
        only: patterns of names of the layers.

    Raises:
        UnknownNameError: no such kind.
        ArgumentError: no layer can take it, or there is no example.
    """
    insert(setup.model, kind, inputs_of(setup, "insert_norm"), only=only, inplace=True)
    return setup


def normalize_or_draw(setup: Setup) -> Setup:
    """Normalize before the activations; where every layer is normalized already, draw the weights anew by He's scheme.

    Raises:
        ArgumentError: there is no layer to draw, or no example.
    """
    try:
        return insert_norm(setup)
    except ArgumentError:
        return initialise(setup, "he")


def convert_norm(setup: Setup, source: str, target: str, where: Sequence[str] | None = None) -> Setup:
    """Turn normalizations of one kind into those of another, such as "batch" into "group".

    Args:
        setup: whose model is changed.
        source, target: kinds as `normwise.convert` has them.
        where: names or patterns of the norms; None for all.

    Raises:
        UnknownNameError: no such kind.
        ArgumentError: no norm can be converted.
    """
    example = inputs_of(setup, "convert_norm")
    chosen = None if where is None else list(where)
    convert(setup.model, source, target, example=example, where=chosen, inplace=True)
    return setup


def recalibrate(setup: Setup) -> Setup:
    """Give norms the running statistics of the setup's example.

    Raises:
        ArgumentError: no norm has running statistics, or there is no example.
    """
    recalibrated(setup.model, [inputs_of(setup, "recalibrate")], inplace=True)
    return setup
