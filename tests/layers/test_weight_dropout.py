"""Dropout of weights, of plain and of recurrent layers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from normwise.errors import ArgumentError
from normwise.layers import bake_weights_, monte_carlo, weight_dropout, weight_norm
from normwise.testing import assert_close


def test_weights_are_dropped_and_the_rest_is_scaled() -> None:
    torch.manual_seed(0)
    layer = weight_dropout(nn.Linear(100, 50), 0.2)
    raw = layer.parametrizations.weight.original
    weight = layer.weight
    gone = weight == 0
    # 5,000 weights: a standard error of 0.0057.
    assert abs(gone.double().mean().item() - 0.2) < 0.023
    assert_close(
        weight[~gone], raw[~gone].double() / 0.8, factor=2
    )  # the kernel's rate is a multiple of 1/65536
    assert not torch.equal(layer.weight, weight)
    assert torch.equal(layer.eval().weight, raw)


def test_one_mask_for_a_call_and_gradients_for_what_is_kept() -> None:
    torch.manual_seed(0)
    layer = weight_dropout(nn.Linear(6, 5, bias=False), 0.5)
    rows = layer(torch.eye(6).repeat(2, 1))
    assert torch.equal(rows[:6], rows[6:])
    rows.backward(torch.ones(12, 5))
    raw = layer.parametrizations.weight.original
    assert_close(raw.grad, 4.0 * (rows[:6].t() != 0), factor=2)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_hidden_weights_of_recurrent_layers(kind: type[nn.RNNBase]) -> None:
    torch.manual_seed(0)
    layer = weight_dropout(kind(3, 8), 0.5, "weight_hh_l0")
    raw = layer.parametrizations.weight_hh_l0.original
    x = torch.randn(6, 2, 3)
    outputs = [layer(x)[0] for _ in range(3)]
    assert not torch.equal(outputs[0], outputs[1])
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(layer)
    # What was used lies among the flat weights: a mask of the parameter, for all time steps, as a cell by hand shows.
    used = layer._flat_weights[layer._flat_weights_names.index("weight_hh_l0")].detach()
    assert set((used / (2 * raw)).detach().round().unique().tolist()) == {0.0, 1.0}
    plain = kind(3, 8)
    plain.load_state_dict({**bake(layer), "weight_hh_l0": used})
    assert_close(outputs[2], plain(x)[0])
    outputs[2].backward(torch.randn_like(outputs[2]))
    assert ((raw.grad != 0) == (used != 0)).all()
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])
    with torch.no_grad():
        layer(x)
    copy.deepcopy(layer)


def bake(layer: nn.Module) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        layer(torch.randn(2, 2, 3))
    other = copy.deepcopy(layer)
    bake_weights_(other)
    return other.state_dict()


def test_the_ends_of_the_range() -> None:
    layer = nn.Linear(4, 3)
    raw = layer.weight
    assert weight_dropout(layer, 0.0).weight is raw
    assert weight_dropout(nn.Linear(4, 3), 1.0).weight.abs().max() == 0


def test_monte_carlo_draws_and_baking_does_not() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(weight_dropout(weight_norm(nn.Linear(10, 10)), 0.5)).eval()
    expected = model[0].weight.detach().clone()
    with monte_carlo(model):
        assert (model[0].weight == 0).any()
    assert torch.equal(model[0].weight, expected)
    model.train()
    assert bake_weights_(model) == ("0.weight",)
    assert torch.equal(model[0].weight, expected)


def test_refusals() -> None:
    with pytest.raises(ArgumentError, match=r"weight_dropout: `p`.*Got 1\.5"):
        weight_dropout(nn.Linear(3, 2), 1.5)
    with pytest.raises(ArgumentError, match="must not be dropped yet"):
        weight_dropout(weight_dropout(nn.Linear(3, 2)))
    with pytest.raises(ArgumentError, match="must have a parameter `weight_hh_l1`"):
        weight_dropout(nn.LSTM(3, 2), name="weight_hh_l1")
