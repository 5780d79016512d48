"""Chains beyond a Sequential: what the forward pass proves."""

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
FLAT = (5, 6)


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
