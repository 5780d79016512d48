"""Weights that a hook computes before each call: what is refused says how to go on, and then it goes on."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import normwise as nw
from normwise.errors import ArgumentError

WAYS = ("weight_norm", "spectral_norm", "pruned")
SURGERY: dict[str, Callable[..., Any]] = {
    "insert": lambda model, x, **how: nw.insert(model, "batch", x, **how),
    "remove": lambda model, x, **how: nw.remove(model, x, **how),
    "convert": lambda model, x, **how: nw.convert(model, "batch", "layer", example=x, **how),
    "convert, data": lambda model, x, **how: nw.convert(
        model, "batch", "layer", data=[x], forward=lambda model, batch: model(batch), **how
    ),
    "fold": lambda model, x, **how: nw.fold(model, x, **how),
    "unfold": lambda model, x, **how: nw.unfold(model, x, ["3"], **how),
}


def network(way: str) -> nn.Sequential:
    model = nn.Sequential(
        nn.Linear(3, 4), nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)
    )
    if way == "pruned":
        prune.random_unstructured(model[0], "weight", 0.5)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            getattr(nn.utils, way)(model[0])
    model(torch.randn(4, 3))  # with gradients, as in training
    return model.eval()


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("name", SURGERY)
@pytest.mark.parametrize("way", WAYS)
def test_a_result_in_a_model_is_named_with_the_way_out(way: str, name: str, inplace: bool) -> None:
    model, x = network(way), torch.randn(6, 3)
    message = r"copy\.deepcopy.*Got `0\.weight`, a result with a graph.*once in torch\.no_grad\(\)"
    with pytest.raises(ArgumentError, match=message):
        SURGERY[name](model, x, inplace=inplace)
    with torch.no_grad():
        before = model(x)
        new, edits = SURGERY[name](model, x, inplace=inplace)
        assert edits.changed or name == "unfold"
        if name in ("fold", "unfold"):
            torch.testing.assert_close(new(x), before)
    new.train()(x).square().mean().backward()
    # `fold` has baked the weight, so that the layer's own is the parameter.
    assert all(parameter.grad is not None for parameter in new[0].parameters())


def test_what_is_no_result_keeps_its_own_words() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    model.file = (each for each in ())  # type: ignore[assignment]
    with pytest.raises(ArgumentError, match=r"copy\.deepcopy.*generator.*elsewhere"):
        nw.fold(model.eval(), torch.randn(2, 3))
