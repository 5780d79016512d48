"""A model watched on an example: who feeds whom, what is shared, what is written, and nothing is touched."""

from __future__ import annotations

import copy
import random
import threading
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from normwise import layers
from normwise.errors import ArgumentError
from normwise.graph import Call, Graph, trace


def feeds(graph: Graph, first: str, second: str) -> bool:
    (one,), (other,) = graph.calls_of(first), graph.calls_of(second)
    return graph.feeds(one, other)


class Net(nn.Module):
    """A convolution and a norm, and in between what a test puts there."""

    def __init__(self, between: object = None, after: object = None) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self._between, self._after = between, after

    def forward(self, x: Tensor) -> object:
        y = self.conv(x)
        y = y if self._between is None else self._between(y)
        z = self.norm(y)
        return z if self._after is None else self._after(y, z)


X = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))


@dataclass
class Answer:
    hidden: Tensor
    logits: Tensor


@pytest.mark.parametrize(
    ("name", "model", "expected"),
    [
        ("alone", Net(), True),
        ("a second reader", Net(after=lambda y, z: z + y), False),
        ("returned, too", Net(after=lambda y, z: (z, y)), False),
        ("returned in an object", Net(after=lambda y, z: Answer(y, z)), False),
        ("written into before", Net(lambda y: y.relu_()), False),
        ("written into through a view", Net(lambda y: (y.view(2, -1).add_(1), y)[1]), False),
        ("another tensor", Net(lambda y: y.relu()), False),
        ("a view of it", Net(lambda y: y.flip(0)), False),
        ("written into afterwards", Net(after=lambda y, z: z.relu_()), True),
    ],
)
def test_who_feeds_whom(name: str, model: Net, expected: bool) -> None:
    graph = trace(model, X)
    assert feeds(graph, "conv", "norm") is expected


def test_what_a_module_keeps_counts_as_returned() -> None:
    class Keeps(Net):
        def forward(self, x: Tensor) -> Tensor:
            self.kept = {"features": [self.conv(x)]}
            return self.norm(self.kept["features"][0])

    model = Keeps()
    assert not feeds(trace(model, X), "conv", "norm")
    assert not hasattr(model, "kept")


def test_calls_nest_and_shared_modules_have_several_names() -> None:
    block = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    model = nn.Sequential(block, nn.LayerNorm(4), block)
    graph = trace(model, torch.randn(2, 4))
    assert graph.names["0"] == ("0", "2")
    first, second = graph.calls_of("0")
    inner = graph.calls_of("0.0")
    assert [next(graph.ancestors(call)).index for call in inner] == [first.index, second.index]
    assert graph.feeds(first, graph.calls_of("1")[0])
    assert [type(call) for call in graph.ancestors(inner[0])] == [Call, Call]


def test_parameters_that_are_used_outside_of_their_module_are_seen() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(self.linear(x), self.linear.weight)

    graph = trace(Tied(), torch.randn(2, 4))
    modules = {None if call is None else call.module for _, call in graph.uses_of("linear.weight")}
    assert modules == {"linear", ""}


def test_values_say_how_they_lie() -> None:
    model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    graph = trace(model, X.to(memory_format=torch.channels_last))
    (call,) = graph.calls
    assert graph.values[call.inputs[0]].channels_last
    output = graph.values[call.outputs[0]]
    assert (output.shape, output.dtype, output.channels_last) == ((2, 4, 4, 4), torch.float32, True)
    assert {value.name for value in graph.values if value.name} == {"weight", "bias"}


@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_touched(training: bool) -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 4), layers.BatchNorm1d(4), nn.BatchNorm1d(4))
    model[1].eval()
    model[2].register_forward_hook(lambda *_: None)
    before, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    random.seed(3)
    torch.manual_seed(3)
    states = random.getstate(), torch.get_rng_state()
    graph = trace(model, torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), training=training)
    assert graph.training is training
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    # Afterwards no hook of the trace is left.
    assert len(trace(model, torch.randn(3, 4)).ops) == len(trace(model, torch.randn(3, 4)).ops)


def test_arguments_by_name_and_by_place() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, *, scale: Tensor) -> Tensor:
            return x * scale

    graph = trace(Two(), {"x": torch.ones(2), "scale": torch.ones(1)})
    assert len(graph.calls[0].inputs) == 2
    assert len(trace(nn.Bilinear(2, 3, 4), (torch.ones(1, 2), torch.ones(1, 3))).calls[0].inputs) == 2


def test_what_cannot_be_traced_is_one_message() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.Linear(5, 4)))
    with pytest.raises(
        ArgumentError, match=r"fold: the model must run on the example.*\(in `1.0`\).*\(2, 3, 6, 6\)"
    ):
        trace(model, X, who="fold")
    with pytest.raises(ArgumentError, match="run a batch through it first"):
        trace(nn.LazyLinear(3), X)
    model = nn.Linear(3, 3)
    model.lock = threading.Lock()
    with pytest.raises(ArgumentError, match=r"copy\.deepcopy"):
        trace(model, torch.randn(2, 3))
    assert torch.nn.modules.module._global_forward_hooks == {}
