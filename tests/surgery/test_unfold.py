"""A norm behind a layer again: the identity at first, where the folded one stood, and it learns."""

from __future__ import annotations

import copy
import functools
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import normwise as nw
from normwise.errors import ArgumentError, UnknownNameError
from normwise.layers.normalized import NormalizedConv2d, NormalizedLinear
from normwise.surgery import fold, unfold

X = (3, 3, 6, 6)


def network() -> nn.Sequential:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4, eps=1e-3, momentum=0.2),
        nn.ReLU(),
        nn.Conv2d(4, 5, 3),
        nw.BatchNormAct2d(5, activation="relu", dropout=0.1),
        nn.Flatten(),
        nn.Linear(20, 6),
        nn.BatchNorm1d(6),
    )
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0.0, 0.2)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2.0)
    return model.eval()


def assert_same(one: nn.Module, other: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(other.eval()(x), one.eval()(x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("keep_places", [False, True])
@pytest.mark.parametrize(
    "carry", [lambda model: model, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))]
)
def test_all_that_was_folded_comes_back(keep_places: bool, carry: Callable[[nn.Module], nn.Module]) -> None:
    model, x = network(), torch.randn(X)
    folded = carry(fold(model, x, keep_places=keep_places)[0])
    new, edits = unfold(folded, x)
    assert [edit.name for edit in edits] == ["1", "4.norm", "7"]
    assert [edit.why for edit in edits] == ["behind `0`", "behind `3`", "behind `6`"]
    assert [type(module) for module in new][:3] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert (new[1].eps, new[1].momentum) == (1e-3, 0.2)
    assert [name for name, _ in new.named_children()] == [str(place) for place in range(8)]
    assert [type(module).__name__ for module in new[4].modules()][1:] == [
        "BatchNorm2d",
        "Sequential",
        "ReLU",
        "Dropout",
    ]
    assert_same(model, new, torch.randn(5, 3, 6, 6))
    # What was folded is as it was, and a second time there is nothing left to do.
    assert_same(model, folded, x)
    assert unfold(new, x)[1].entries == ()
    again, _ = fold(new, x)
    assert_same(model, again, torch.randn(5, 3, 6, 6))


def test_a_state_goes_into_another_model_that_was_folded() -> None:
    model, x = network(), torch.randn(X)
    folded, _ = fold(model, x)
    other, _ = fold(network(), x)
    other.load_state_dict(folded.state_dict())
    new, _ = unfold(other, x)
    assert_same(model, new, torch.randn(5, 3, 6, 6))


def test_statistics_are_those_of_the_data() -> None:
    model = network()
    data = [torch.randn(n, 3, 6, 6) * 2.0 + n for n in (3, 8, 1)]  # between the batches there is spread, too
    folded, _ = fold(model, data[0])
    new, _ = unfold(folded, data[0], data=data)
    seen = torch.cat([new[0](batch) for batch in data])
    torch.testing.assert_close(new[1].running_mean, seen.mean(dim=(0, 2, 3)), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(new[1].running_var, seen.var(dim=(0, 2, 3)), rtol=1e-12, atol=1e-12)
    assert_same(model, new, torch.cat(data))
    # On all of the data at once, the first pass of a training is nearly the identity, too.
    whole = torch.cat(data)
    new.train()
    new[4].after.eval()
    torch.testing.assert_close(new(whole), folded.eval()(whole), rtol=0.2, atol=0.2)
    plain, _ = unfold(folded, data[0])
    plain.train()
    assert (plain(whole) - folded(whole)).abs().max() > 1.0


def test_it_learns_further() -> None:
    model, x = network(), torch.randn(16, 3, 6, 6)
    new, _ = unfold(fold(model, x)[0], x, data=[x, 2.0 * x])
    before = copy.deepcopy(new.state_dict())
    new.train()
    optimizer = torch.optim.SGD(new.parameters(), lr=0.1)
    y = new(x)
    (y * torch.randn_like(y)).mean().backward()
    optimizer.step()
    changed = {name for name, value in new.state_dict().items() if not torch.equal(value, before[name])}
    assert {"0.weight", "1.weight", "1.bias", "1.running_mean", "4.norm.running_var", "7.weight"} <= changed


def test_named_layers_get_a_norm_inside() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 6))
    x = torch.randn(X)
    new, edits = unfold(model, x, ["0", "3"])
    assert [type(module) for module in new] == [NormalizedConv2d, nn.ReLU, nn.Flatten, NormalizedLinear]
    assert [tuple(edit) for edit in edits] == [
        ("0.norm", "", "nn.BatchNorm2d", "behind `0`, inside of it"),
        ("3.norm", "", "nn.BatchNorm1d", "behind `3`, inside of it"),
    ]
    assert model.state_dict().keys() < new.state_dict().keys()
    assert new[0].weight is model[0].weight
    assert type(model[0]) is nn.Conv2d
    assert new[0].norm.training
    assert_same(model, new, x)
    again, _ = fold(new.eval(), x)
    assert [type(module) for module in again] == [type(module) for module in model]
    assert_same(model, again, x)
    assert type(unfold(again, x)[0][0]) is NormalizedConv2d


def test_in_place() -> None:
    model, x = network(), torch.randn(X)
    before = copy.deepcopy(model)
    fold(model, x, inplace=True)
    new, _ = unfold(model, x, inplace=True)
    assert new is model
    assert type(model[1]) is nn.BatchNorm2d
    assert_same(before, model, x)
    layer = nn.Linear(3, 4)
    unfold(layer, torch.randn(2, 3), [""], inplace=True)
    assert type(layer) is NormalizedLinear


def test_a_norm_that_two_layers_had_in_common() -> None:
    norm = nn.BatchNorm2d(3)
    model = nn.Sequential(nn.Conv2d(3, 3, 1), norm, nn.ReLU(), nn.Conv2d(3, 3, 1), norm).eval()
    x = torch.randn(X)
    new, edits = unfold(fold(model, x)[0], x)
    assert new[1] is new[4]
    assert edits["1"].why == "behind `0` and `3`"
    assert_same(model, new, x)


def test_other_dtypes() -> None:
    model = network().float()
    x = torch.randn(X).float()
    folded, _ = fold(model, x)
    new, edits = unfold(folded, x, data=[x, x + 1.0])
    assert new[1].weight.dtype is torch.float32
    assert (new(x) - model(x)).abs().max() <= 1e-5 * model(x).abs().max()
    assert "float32" in edits.notes[0]


@pytest.mark.parametrize(
    ("names", "data", "message"),
    [
        (["0", "2"], None, r"unfold: `2` must be a linear layer or a convolution.*Got a ReLU"),
        (["spare"], None, "Got one that the example does not reach"),
        (["tokens"], None, r"channels that a layer gives must be on axis 1.*Got \(2, 6, 6\) behind `tokens`"),
        (["0"], [], "Got 0 elements"),
        (["0"], [torch.full((2, 6, 6), torch.nan, dtype=torch.float64)], "not finite"),
    ],
)
def test_what_is_refused(names: list[str], data: Any, message: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.spare = nn.Linear(6, 6), nn.Linear(6, 6)
            self.add_module("0", nn.Conv1d(6, 6, 1))
            self.add_module("2", nn.ReLU())

        def forward(self, x: Tensor) -> Tensor:
            return self._modules["2"](self._modules["0"](self.tokens(x)))

    model = Net()
    with pytest.raises(ArgumentError, match=message):
        unfold(model, torch.randn(2, 6, 6), names, data=data)
    assert type(model.tokens) is nn.Linear


def test_other_refusals() -> None:
    model, x = network(), torch.randn(X)
    with pytest.raises(UnknownNameError, match="unfold: unknown module '9'"):
        unfold(model, x, ["9"])
    with pytest.raises(ArgumentError, match=r"`model` must be a torch\.nn\.Module"):
        unfold(nn.Linear, x)
    hooked = network()
    hooked[0].register_forward_hook(lambda *_: None)
    with pytest.raises(ArgumentError, match="Got it has hooks"):
        unfold(hooked, x, ["0"])
    inside, _ = unfold(model, x, ["0"])
    with pytest.raises(ArgumentError, match="Got one that holds a norm"):
        unfold(inside, x, ["0"])


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("function", [fold, functools.partial(unfold, names=["0"])])
def test_without_values_nothing_is_proved(function: Callable[..., Any], inplace: bool) -> None:
    with torch.device("meta"):
        model, x = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).eval(), torch.randn(2, 3)
    with pytest.raises(ArgumentError, match=r"must have values.*one on the meta device.*load its state"):
        function(model, x, inplace=inplace)
    assert type(model[1]) is nn.BatchNorm1d


def test_a_place_that_was_given_to_something_else_is_left_to_it() -> None:
    model, x = network(), torch.randn(X)
    folded, _ = fold(model, x, keep_places=True)
    folded[1] = nn.Tanh()
    new, edits = unfold(folded, x)
    assert [edit.name for edit in edits] == ["0.norm", "4.norm", "7"]
    assert type(new[1]) is nn.Tanh
    assert_same(folded, new, x)
