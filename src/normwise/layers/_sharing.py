"""Layers that normalize together with others: replicas in other processes, in this one, or batches to come."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from normwise.errors import ArgumentError, explain
from normwise.layers._tracking import Tracking

How = Callable[..., Tensor]
"""Called as ``how(layer, input, sample_weight=…, **after)`` in the place of the layer's own pass, in training."""

_NAME = "shared_by"


def sharers(model: nn.Module) -> dict[str, Tracking]:
    """Name → layer, of those whose batch statistics can be shared, each once."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, Tracking) and type(module).shares
    }


def share(layer: nn.Module, how: How | None) -> None:
    """Let a layer normalize by `how`; None takes it back. Its class, hooks and state_dict stay."""
    if how is None:
        vars(layer).pop(_NAME, None)
    else:
        vars(layer)[_NAME] = how


def shared_by(layer: nn.Module) -> How | None:
    """What a layer normalizes by, if not alone."""
    found: How | None = vars(layer).get(_NAME)
    return found


@contextlib.contextmanager
def sharing(who: str, model: nn.Module, make: Callable[[Tracking], How]) -> Iterator[list[Any]]:
    """Give each layer of a model that shares a `how` of its own within the block, and put back what was there.

    Raises:
        ArgumentError: (a ValueError) no layer of the model can share its statistics.
    """
    layers = list(sharers(model).values())
    if not layers:
        raise ArgumentError(
            explain(
                who,
                "the model must have a batch normalization of normwise",
                f"a {type(model).__name__} without one",
                "`normwise.accelerate` puts them into the places of torch's",
            )
        )
    before = [(layer, shared_by(layer)) for layer in layers]
    made = [make(layer) for layer in layers]
    try:
        for layer, how in zip(layers, made, strict=True):
            share(layer, how)
        yield made
    finally:
        for layer, earlier in before:
            share(layer, earlier)
