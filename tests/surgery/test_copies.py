"""What is refused, and what a copy of a model keeps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import normwise as nw
from normwise.errors import ArgumentError

FLAT = (5, 6)


@pytest.mark.parametrize("function", [nw.accelerate, nw.decelerate])
def test_what_is_no_model(function: Callable[..., object]) -> None:
    with pytest.raises(ArgumentError, match=r"`model` must be a torch\.nn\.Module\. Got a dict"):
        function({})
    with pytest.raises(ArgumentError, match=r"Got the class ReLU.*call it first"):
        function(nn.ReLU)
    with pytest.raises(ArgumentError, match=r"must not be compiled yet.*first, then compile"):
        function(torch.compile(nn.Linear(2, 2), backend="eager"))


def test_a_model_that_cannot_be_copied() -> None:
    class Kept(nn.Sequential):
        def __deepcopy__(self, memo: object) -> Kept:
            raise RuntimeError("there is one of me")

    model = Kept(nn.BatchNorm1d(6), nn.ReLU())
    with pytest.raises(ArgumentError, match=r"copy\.deepcopy.*there is one of me.*inplace=True"):
        nw.accelerate(model)
    new, edits = nw.accelerate(model, inplace=True)
    assert type(new[0]) is nw.BatchNorm1d
    assert edits["0"].why == "the same operation; not fused: the model could not be traced"
    assert edits.notes == (
        "Kept (the model) could not be traced, so only what it calls as a whole was: "
        "RuntimeError: there is one of me",
    )

    class Other(nn.Sequential):
        def __deepcopy__(self, memo: object) -> Other:
            return Other(nn.BatchNorm1d(6))

    with pytest.raises(ArgumentError, match="share its parameters"):
        nw.accelerate(Other(nn.BatchNorm1d(6)))


def test_plain_tensors_and_caches_of_a_model_survive() -> None:
    class Caching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(6)
            self.activation = nn.ReLU()
            self.scale = torch.ones(6)
            self.last: Tensor | None = None

        def forward(self, x: Tensor) -> Tensor:
            self.last = self.activation(self.norm(x)) * self.scale
            return self.last

    old = Caching()
    y = old(torch.randn(FLAT))  # a tensor that copy.deepcopy alone refuses
    new, _ = nw.accelerate(old)
    assert type(new.norm) is nw.BatchNormAct1d
    assert new.last is old.last is y
    assert new.scale is old.scale
