"""Parametrized weights made plain: same outputs, plain state, nothing else touched."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from normwise.layers import (
    bake_weights_,
    centred_weight,
    orthogonal,
    remove_weight_norm,
    spectral_norm,
    weight_dropout,
    weight_norm,
    weight_standardization,
)


def old_weight_norm(module: nn.Module) -> nn.Module:
    with pytest.warns(FutureWarning, match="deprecated"):
        return nn.utils.weight_norm(module)


FUNCTIONS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "weight_norm": weight_norm,
    "spectral_norm": spectral_norm,
    "orthogonal": orthogonal,
    "centred_weight": centred_weight,
    "weight_standardization": lambda m: weight_standardization(m, scaled=True),
    "torch's weight_norm": parametrizations.weight_norm,
    "torch's spectral_norm": parametrizations.spectral_norm,
    "torch's orthogonal": parametrizations.orthogonal,
    "torch's old weight_norm": old_weight_norm,
    "torch's old spectral_norm": nn.utils.spectral_norm,
    "one behind another": lambda m: spectral_norm(centred_weight(m)),
}


def network(function: Callable[[nn.Module], nn.Module]) -> tuple[nn.Sequential, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(
        function(nn.Conv2d(4, 6, 3)), nn.ReLU(), function(nn.ConvTranspose2d(6, 4, 3, bias=False))
    )
    return model, torch.randn(2, 4, 5, 5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_outputs_stay_bit_for_bit_and_the_state_is_plain(name: str, training: bool) -> None:
    model, x = network(FUNCTIONS[name])
    model(x)
    expected = model.eval()(x)
    model.train(training)
    assert bake_weights_(model) == ("0.weight", "2.weight")
    assert all(module.training == training for module in model.modules())
    assert torch.equal(model.eval()(x), expected)
    plain, _ = network(lambda m: m)
    assert [(k, v.shape) for k, v in model.state_dict().items()] == [
        (k, v.shape) for k, v in plain.state_dict().items()
    ]
    assert [type(m) for m in model.modules()] == [type(m) for m in plain.modules()]
    assert list(dict(model.named_parameters())) == list(dict(plain.named_parameters()))
    plain.load_state_dict(model.state_dict(), strict=True)
    model.load_state_dict(plain.state_dict(), strict=True)
    assert torch.equal(pickle.loads(pickle.dumps(model))(x), expected)
    model(x).square().mean().backward()
    assert all(p.is_leaf and p.grad is not None for p in model.parameters())
    assert bake_weights_(model) == ()


@pytest.mark.parametrize("bake", [bake_weights_, remove_weight_norm])
def test_a_deep_copy_can_be_baked_while_the_original_trains(bake: Callable[[nn.Module], object]) -> None:
    original = weight_norm(nn.Linear(3, 2))
    baked = copy.deepcopy(original)
    bake(baked)
    assert isinstance(baked.weight, nn.Parameter)
    assert parametrize.is_parametrized(original)
    original(torch.randn(4, 3)).sum().backward()
    assert original.parametrizations.weight.original0.grad is not None
    bake(original)
    assert torch.equal(original.weight, baked.weight)


def test_torchs_removal_breaks_the_original() -> None:
    original = parametrizations.weight_norm(nn.Linear(3, 2))
    parametrize.remove_parametrizations(copy.deepcopy(original), "weight")
    with pytest.raises(AttributeError, match="weight"):
        original(torch.randn(4, 3))


def test_a_module_used_twice_is_baked_once() -> None:
    layer = weight_norm(nn.Linear(3, 3))
    assert bake_weights_(nn.Sequential(layer, nn.ReLU(), layer)) == ("0.weight",)


def test_shared_parameters_stay_shared() -> None:
    torch.manual_seed(0)
    first, second, third = (nn.Linear(3, 2) for _ in range(3))
    second.weight = third.weight = first.weight
    centred_weight(first)
    centred_weight(second)
    weight_standardization(third)
    model = nn.ModuleList([first, second, third])
    values = [m.weight.detach().clone() for m in model]
    bake_weights_(model)
    assert first.weight is second.weight
    assert third.weight is not first.weight  # the same source, another function of it
    for module, value in zip(model, values, strict=True):
        assert torch.equal(module.weight, value)


def test_what_shares_the_tensor_beneath_keeps_it() -> None:
    torch.manual_seed(0)
    embedding, decoder = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
    decoder.weight = embedding.weight
    raw = embedding.weight.detach().clone()
    spectral_norm(decoder, n_power_iterations=5)
    value = decoder.eval().weight.detach().clone()
    bake_weights_(nn.ModuleList([embedding, decoder]))
    assert torch.equal(embedding.weight, raw)
    assert torch.equal(decoder.weight, value)
    assert decoder.weight is not embedding.weight


def test_frozen_ones_stay_frozen_and_buffers_stay_buffers() -> None:
    frozen = weight_norm(nn.Linear(3, 2)).requires_grad_(False)
    bake_weights_(frozen)
    assert not frozen.weight.requires_grad
    module = nn.Module()
    module.register_buffer("table", torch.randn(4, 3))
    centred_weight(module, "table", dim=0)
    assert bake_weights_(module) == ("table",)
    assert list(dict(module.named_buffers())) == ["table"]


@pytest.mark.parametrize("names", [("bias",), ("bias", "weight"), ("weight", "bias")])
def test_the_order_of_parameters_is_the_plain_ones(names: tuple[str, ...]) -> None:
    module = nn.Conv1d(3, 2, 1)
    for name in names:
        weight_dropout(module, name=name)
    assert bake_weights_(module) == names
    assert list(module.state_dict()) == ["weight", "bias"]


def test_several_parameters_of_a_module() -> None:
    torch.manual_seed(0)
    module = nn.GRU(3, 4)
    names = list(module.state_dict())
    for name in ("weight_hh_l0", "weight_ih_l0"):
        weight_norm(module, name, dim=0)
    x = torch.randn(5, 2, 3)
    expected = module(x)[0]
    assert bake_weights_(module) == ("weight_hh_l0", "weight_ih_l0")
    assert list(module.state_dict()) == names
    assert torch.equal(module(x)[0], expected)
    assert all(ours is theirs for ours, theirs in zip(module._flat_weights, module.parameters(), strict=True))
    assert torch.equal(copy.deepcopy(module)(x)[0], expected)
