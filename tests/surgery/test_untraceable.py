"""Modules that cannot be traced: what they call as a whole is, and no more."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import normwise as nw

Same = Callable[..., None]
Stir = Callable[[nn.Module], nn.Module]
FLAT = (5, 6)


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(x))


class Branching(nn.Module):
    """Which way it goes depends on values, so that it cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU())
        self.blocks = nn.ModuleList([Plain(), nn.Sequential(nn.LayerNorm(6), nn.Tanh())])
        self.norm = nn.LayerNorm(6)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x) if x.sum() > 0 else -self.body(-x)
        for block in self.blocks:
            x = block(x)
        return self.activation(self.norm(x))


@pytest.mark.parametrize("depth", [0, 1])
def test_what_an_untraceable_module_calls_as_a_whole(depth: int, same: Same, stir: Stir) -> None:
    old = stir(Branching())
    name = "the model"
    if depth:
        old, name = nn.Sequential(nn.Linear(6, 6), old, nn.BatchNorm1d(6), nn.ReLU()), "`1`"
    new, edits = nw.accelerate(old)
    inner = new[1] if depth else new
    assert type(inner.body[1]) is nw.BatchNormAct1d
    assert type(inner.blocks[0].norm) is nw.BatchNormAct1d
    assert type(inner.blocks[1][0]) is nw.LayerNormAct
    assert type(inner.norm) is nw.LayerNorm
    assert not depth or type(new[2]) is nw.BatchNormAct1d
    assert (
        edits["1.norm" if depth else "norm"].why
        == f"the same operation; not fused: {name} could not be traced"
    )
    (note,) = edits.notes
    assert note.startswith(
        f"Branching ({name}) could not be traced, so only what it calls as a whole was: TraceError"
    )
    same(old, new, torch.randn(FLAT))


class Iterating(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            x = -x
        return self.run(x)

    def run(self, x: Tensor) -> Tensor:
        found = []
        for module in self.body:
            x = module(x)
            found.append(x)
        return torch.cat(found)


class Indexing(Iterating):
    def run(self, x: Tensor) -> Tensor:
        return self.body[1](self.body[0](x))


class Roundabout(Iterating):
    def run(self, x: Tensor) -> Tensor:
        for child in next(self.children()):
            x = child(x)
        return x


class Heir(Iterating):
    def run(self, x: Tensor) -> Tensor:
        return super().run(x)


@pytest.mark.parametrize("kind", [Iterating, Indexing, Roundabout, Heir])
def test_a_sequential_that_is_not_called_as_a_whole(kind: type[Iterating], same: Same, stir: Stir) -> None:
    old = stir(kind())
    new, edits = nw.accelerate(old)
    assert type(new.body[1]) is nw.BatchNorm1d
    assert (
        edits["body.1"].why
        == "the same operation; not fused: the model does more with `body` than to call it"
    )
    same(old, new, torch.randn(FLAT))


class ReachingDown(nn.Module):
    """Calls a module that cannot be traced, and one that lies inside of it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Branching()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + self.inner.body[1](x)


def test_a_norm_that_is_called_from_two_sides(same: Same, stir: Stir) -> None:
    old = stir(ReachingDown())
    new, edits = nw.accelerate(old)
    assert type(new.inner.body[1]) is nw.BatchNorm1d
    assert edits["inner.body.1"].why == "the same operation; not fused: it is called from several modules"
    assert type(new.inner.blocks[0].norm) is nw.BatchNormAct1d
    same(old, new, torch.randn(FLAT))


def test_a_class_without_source_is_not_trusted() -> None:
    space: dict[str, object] = {"nn": nn}
    program = (
        "class Made(nn.Module):\n    def forward(self, x):\n        return self.body(x) if x.sum() > 0 else x"
    )
    exec(program, space)
    model = space["Made"]()  # type: ignore[operator]
    model.body = nn.Sequential(nn.BatchNorm1d(6), nn.ReLU())
    new, edits = nw.accelerate(model)
    assert type(new.body[0]) is nw.BatchNorm1d
    assert "not fused" in edits["body.0"].why


def test_modules_of_one_class_that_cannot_be_traced_are_one_note() -> None:
    new, edits = nw.accelerate(nn.Sequential(*(Branching() for _ in range(4))))
    assert len(edits.notes) == 1
    assert "`0`, `1` and 2 more" in edits.notes[0]
    assert all(type(block.body[1]) is nw.BatchNormAct1d for block in new)
