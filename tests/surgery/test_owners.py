"""What an owner reads and does not call keeps its place: torch's fast path would not see what another one computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import normwise as nw
from normwise.errors import ArgumentError
from normwise.surgery._survey import Survey

READ = "torch's fast path in {} reads it in evaluation, and does not call it"


def encoder(**options: Any) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(8, 2, 16, **{"dropout": 0.0, "batch_first": True} | options)


class Around(nn.TransformerEncoderLayer):
    """The fast path, and something behind it."""

    def forward(self, src: Tensor, *others: Any, **named: Any) -> Tensor:
        return super().forward(src, *others, **named) + 1.0


class Own(nn.TransformerEncoderLayer):
    """A forward pass that calls its children."""

    def forward(self, src: Tensor, *others: Any, **named: Any) -> Tensor:
        return self.norm2(self.linear2(self.linear1(self.norm1(src))))


@pytest.mark.parametrize("target", ["rms", "dynamic_tanh"])
@pytest.mark.parametrize("given", [False, True])
def test_norms_of_the_fast_path_are_not_converted(target: str, given: bool) -> None:
    model, x = nn.Sequential(encoder(), nn.LayerNorm(8)), torch.randn(3, 5, 8)
    new, edits = nw.convert(model, "layer", target, example=x if given else None)
    assert [edits[f"0.{name}"].why for name in ("norm1", "norm2")] == [READ.format("`0`")] * 2
    assert type(new[0].norm1) is type(new[0].norm2) is nn.LayerNorm
    assert type(new[1]) is not nn.LayerNorm
    with torch.no_grad():
        assert torch.equal(new[0].eval()(x), model[0].eval()(x))


@pytest.mark.parametrize(
    "make",
    [
        lambda: encoder(batch_first=False),
        lambda: encoder(activation=torch.tanh),
        lambda: encoder(bias=False),
        lambda: Own(8, 2, 16, dropout=0.0, batch_first=True),
    ],
)
def test_without_a_fast_path_norms_are_converted(make: Callable[[], nn.Module]) -> None:
    model, x = make(), torch.randn(3, 4, 8)
    new, edits = nw.convert(model, "layer", "dynamic_tanh", example=x)
    assert [edit.after for edit in edits] == ["nw.DynamicTanh"] * 2
    with torch.no_grad():
        assert torch.isfinite(new.eval()(x)).all()


def test_a_forward_pass_around_torchs_has_its_fast_path() -> None:
    model = Around(8, 2, 16, batch_first=True)
    _, edits = nw.convert(model, "layer", "rms")
    assert {edit.why for edit in edits} == {READ.format("the model")}


def test_which_modules_are_read() -> None:
    model = nn.TransformerEncoder(encoder(), 1, enable_nested_tensor=False)
    survey = Survey(model)
    read = {name for name, module in survey.modules.items() if survey.read(module)}
    inner = ("self_attn", "self_attn.out_proj", "linear1", "linear2", "norm1", "norm2")
    assert read == {f"layers.0.{name}" for name in inner}
    attention = survey.at["layers.0.self_attn.out_proj"]
    assert survey.taken(attention) == "`layers.0.self_attn` reads its weights, and does not call it"
    assert survey.taken(attention, same=True) is None


@pytest.mark.parametrize("name", ["linear1", "linear2"])
def test_no_norm_is_put_into_a_layer_of_the_fast_path(name: str) -> None:
    model = encoder().eval()
    model.dropout1.register_forward_hook(lambda *_: None)  # which keeps the fast path off, for the time being
    with pytest.raises(ArgumentError, match="torch's fast path in the model reads it"):
        nw.unfold(model, torch.randn(3, 5, 8), [name])
    with pytest.raises(ArgumentError, match="torch's fast path in the model reads it"):
        nw.insert(model, "layer", torch.randn(3, 5, 8))


def test_a_norm_of_the_fast_path_is_not_folded() -> None:
    model = encoder(norm_first=True).eval()
    model.norm1 = nn.BatchNorm1d(8).eval()
    model.norm1.running_mean.fill_(1.0)
    _, edits = nw.fold(model, torch.randn(3, 8, 8))
    assert edits["norm1"].why == READ.format("the model")


def test_equal_layers_take_the_place_and_are_read() -> None:
    x, old = torch.randn(3, 5, 8), encoder().eval()
    with torch.no_grad():
        old.norm1.weight.normal_()
        new, edits = nw.accelerate(old)
        assert type(new.norm1) is nw.LayerNorm
        assert edits["norm1"].why.startswith("the same operation")
        assert torch.equal(new(x), old(x))
        assert torch.equal(nw.decelerate(new)[0](x), old(x))
