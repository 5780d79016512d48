"""What computes a parametrized weight: the result of torch's list, however many parametrizations it holds."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrize import ParametrizationList

import normwise as nw
from normwise.layers._parametrize import Parametrizations, register


class Twice(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2.0 * weight


class Split(nn.Module):
    """As many tensors as asked for, whose sum is the weight."""

    def __init__(self, parts: int) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, *parts: Tensor) -> Tensor:
        return torch.stack(parts).sum(0)

    def right_inverse(self, weight: Tensor) -> list[Tensor]:
        return [weight / self.parts] * self.parts


def held(module: nn.Module) -> ParametrizationList:
    found = module.parametrizations.weight  # type: ignore[union-attr]
    assert isinstance(found, ParametrizationList)
    return found


def by_torch(module: nn.Module) -> Tensor:
    """What torch's own class makes of the same list."""
    weight: Tensor = ParametrizationList.forward(held(module))
    return weight


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_one_parametrization_of_several_tensors(parts: int) -> None:
    layer = nn.Linear(3, 2)
    before = layer.weight.detach().clone()
    register(layer, "weight", Split(parts))
    assert isinstance(held(layer), Parametrizations)
    torch.testing.assert_close(layer.weight, before)
    assert torch.equal(layer.weight, by_torch(layer))


@pytest.mark.parametrize("make", [nw.weight_norm, nw.spectral_norm, nw.centred_weight])
def test_a_second_parametrization_follows_the_first(make: Callable[[nn.Module], nn.Module]) -> None:
    layer = make(nn.Linear(3, 2)).eval()
    once = layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", Twice())
    assert torch.equal(layer.weight, 2.0 * once)
    assert torch.equal(layer.weight, by_torch(layer))


def test_a_length_that_is_parametrized_itself() -> None:
    layer = nw.weight_norm(nn.Linear(3, 2))
    before = layer.weight.detach().clone()
    parametrize.register_parametrization(held(layer), "original0", Twice())
    torch.testing.assert_close(layer.weight, 2.0 * before)


def test_a_weight_that_is_a_buffer() -> None:
    layer = nn.Module()
    layer.register_buffer("weight", torch.ones(2, 3))
    register(layer, "weight", Twice())
    assert torch.equal(layer.weight, torch.full((2, 3), 2.0))


def test_torchs_own_list_before_ours_stays() -> None:
    layer = nn.Linear(3, 2)
    parametrize.register_parametrization(layer, "weight", Twice())
    register(layer, "weight", Twice())
    assert len(held(layer)) == 2
    assert torch.equal(layer.weight, 4.0 * held(layer).original)


def test_hooks_of_the_parametrization_and_of_the_list_run() -> None:
    layer = nw.weight_norm(nn.Linear(3, 2))
    seen: list[str] = []
    held(layer).register_forward_hook(lambda *_: seen.append("list"))
    held(layer)[0].register_forward_hook(lambda *_: seen.append("parametrization"))
    layer(torch.ones(1, 3))
    assert seen == ["parametrization", "list"]


def test_copy_removal_and_compilation() -> None:
    layer = nw.weight_norm(nw.Linear(3, 2))
    x = torch.randn(4, 3)
    expected = layer(x)
    twin = copy.deepcopy(layer)
    assert isinstance(held(twin), Parametrizations)
    assert torch.equal(nw.remove_weight_norm(twin)(x), expected)
    assert torch.equal(layer(x), expected)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), expected)
