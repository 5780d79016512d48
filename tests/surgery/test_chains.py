"""Chains beyond a Sequential: what the forward pass proves, and what it leaves in doubt."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

import normwise as nw

Same = Callable[..., None]
Stir = Callable[[nn.Module], nn.Module]
FLAT, PLANE = (5, 6), (3, 6, 4, 5)


class Parts(nn.Module):
    """A norm, an activation and a dropout; subclasses say how they are called."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)
        self.activation = nn.ReLU()
        self.dropout = nn.Dropout(0.0)
        self.linear = nn.Linear(6, 6)


class Plain(Parts):
    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.activation(self.norm(self.linear(x))))


class Optional(Parts):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self.activation(self.norm(x))
        return x if mask is None else x * mask


class Function(Parts):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(x))


class Method(Parts):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x).relu_()


class ReadTwice(Parts):
    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        return self.activation(y) + y


class NormTwice(Parts):
    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(self.norm(x)))


class ActivationTwice(Parts):
    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.linear(self.activation(self.norm(x))))


class Summed(Parts):
    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(x) + x)


class ModeBound(Parts):
    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        return self.activation(y) if self.training else y


class ActivationElsewhere(Parts):
    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(x)) if self.training else self.activation(x)


class WithoutGradients(Parts):
    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        with torch.no_grad():
            gate = self.activation(y)
        return gate * x


class Given(Parts):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        y = self.norm(x)
        return self.activation(y) if mask is None else self.activation(y * mask)


class Replaced(Parts):
    def __init__(self) -> None:
        super().__init__()
        self.forward = lambda x: self.activation(self.norm(x))


@pytest.mark.parametrize("kind", [Plain, Optional])
def test_fused(kind: type[Parts], same: Same, stir: Stir) -> None:
    old = stir(kind())
    new, edits = nw.accelerate(old)
    assert type(new.norm) is nw.BatchNormAct1d
    assert type(new.activation) is nn.Identity
    assert edits.notes == ()
    same(old, new, torch.randn(FLAT))


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Function, "relu is called as a function, which has no place to give up"),
        (Method, "relu is called as a function, which has no place to give up"),
        (ReadTwice, "its output is used more than once"),
        (NormTwice, "it is called more than once"),
        (ActivationTwice, "`activation` is called more than once"),
        (Summed, ""),
        (ModeBound, "what follows differs between the modes"),
        (ActivationElsewhere, "what follows differs between the modes"),
        (WithoutGradients, "`activation` is called under another mode of gradients or autocast"),
        (Given, "what follows differs between the modes"),
        (Replaced, "the model could not be traced"),
    ],
)
def test_not_fused(kind: type[Parts], why: str, same: Same, stir: Stir) -> None:
    old = stir(kind())
    if kind is Replaced:
        new, edits = nw.accelerate(old, inplace=True)
    else:
        new, edits = nw.accelerate(old)
        same(old, new, torch.randn(FLAT))
    assert type(new.norm) is nw.BatchNorm1d
    assert type(new.activation) is nn.ReLU
    assert edits["norm"].why == "the same operation" + (f"; not fused: {why}" if why else "")


class BasicBlock(nn.Module):
    """The residual block as torchvision writes it, with an activation of its own for each use, or one for both."""

    def __init__(self, before: int, after: int, *, shared: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.relu2 = self.relu if shared else nn.ReLU(inplace=True)
        skip = nn.Sequential(nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after))
        self.downsample = skip if before != after else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu2(y)


@pytest.mark.parametrize("shared", [True, False])
def test_residual_networks(shared: bool, same: Same, stir: Stir) -> None:
    old = stir(
        nn.Sequential(
            nn.Sequential(nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4), nn.ReLU()),
            BasicBlock(4, 4, shared=shared),
            BasicBlock(4, 5, shared=shared),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(5, 3),
        )
    )
    new, edits = nw.accelerate(old)
    assert type(new[0][1]) is nw.BatchNormAct2d
    for block in (new[1], new[2]):
        assert type(block.bn1) is (nw.BatchNorm2d if shared else nw.BatchNormAct2d)
        assert type(block.bn2) is nw.BatchNorm2d
        assert type(block.relu2) is nn.ReLU
    assert type(new[2].downsample[1]) is nw.BatchNorm2d
    assert ("`1.relu` is called more than once" in str(edits)) is shared
    same(old, new, torch.randn(PLANE))


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


def test_looking_leaves_no_trace() -> None:
    class Noisy(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[Tensor] = []
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            self.seen.append(x)
            random.random()
            torch.rand(())
            return super().forward(x)

    model = Noisy()
    torch.manual_seed(3)
    random.seed(3)
    states = torch.get_rng_state(), random.getstate()
    new, _ = nw.accelerate(model)
    assert type(new.norm) is nw.BatchNormAct1d
    assert new.seen == model.seen == []
    assert new.calls.item() == 0
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]


@pytest.mark.parametrize("norm", ["batch", "layer", "group", "rms"])
@pytest.mark.parametrize("position", ["before", "after"])
def test_the_perceptrons_of_normwise(norm: str, position: str, same: Same, stir: Stir) -> None:
    old = stir(nw.mlp(6, 2, widths=(8, 8), norm=norm, position=position, dropout=0.3))
    new, _ = nw.accelerate(old)
    assert [block.norm.activation for block in new.blocks] == ["relu" if position == "before" else "none"] * 2
    assert [block.norm.dropout for block in new.blocks] == [0.3, 0.3]
    same(old, new, torch.randn(FLAT), modes=(False,))
    back, _ = nw.decelerate(new)
    assert repr(back) == repr(old)


@pytest.mark.parametrize("norm", ["batch", "layer", "group", "instance", "rms"])
@pytest.mark.parametrize("residual", [True, False])
def test_the_convolutional_networks_of_normwise(norm: str, residual: bool, same: Same, stir: Stir) -> None:
    old = stir(nw.cnn((6, 4, 5), 2, channels=(8, 8), norm=norm, residual=residual, activation="tanh"))
    new, _ = nw.accelerate(old)
    fused = [type(block.norm).__name__.endswith(("Act", "Act2d")) for block in new.blocks]
    assert fused == [not residual] * 2
    same(old, new, torch.randn(PLANE))
    back, _ = nw.decelerate(new)
    assert repr(back) == repr(old)
