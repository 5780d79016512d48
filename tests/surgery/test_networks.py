"""Whole networks: residual ones, normwise's own, and any at all."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import assume, given, settings, strategies as st
from torch import Tensor, nn

import normwise as nw

Same = Callable[..., None]
Stir = Callable[[nn.Module], nn.Module]
FLAT, PLANE = (5, 6), (3, 6, 4, 5)


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


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(x))


class ModeBound(Plain):
    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        return self.activation(y) if self.training else y


def smallest_spread(model: nn.Module, x: Tensor) -> float:
    """Of the batch norms' inputs. In a dead channel, torch's rounding of the mean is all there is, made large."""
    spreads = [1.0]
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.register_forward_pre_hook(
                lambda _, inputs: spreads.append(float(inputs[0].detach().std(0).min()))
            )
    model(x)
    return min(spreads)


PALETTE: tuple[Callable[[], nn.Module], ...] = (
    lambda: nn.Linear(6, 6),
    lambda: nn.BatchNorm1d(6),
    lambda: nn.LayerNorm(6),
    lambda: nn.GroupNorm(2, 6),
    lambda: nn.RMSNorm(6),
    nn.ReLU,
    nn.Tanh,
    nn.ELU,
    nn.Identity,
    lambda: nn.Dropout(0),
    Plain,
    ModeBound,
)


@settings(max_examples=60, deadline=None)
@given(
    picks=st.lists(st.integers(0, 14), min_size=1, max_size=8),
    frozen=st.sets(st.integers(0, 7)),
    seed=st.integers(0, 9),
)
def test_any_network_computes_the_same_and_comes_back(
    picks: list[int], frozen: set[int], seed: int, same: Same, stir: Stir, measure: Callable[..., object]
) -> None:
    torch.manual_seed(seed)
    modules: list[nn.Module] = []
    for pick in picks:
        # Beyond the palette: a module that is there already, once more.
        modules.append(
            PALETTE[pick]() if pick < len(PALETTE) else (modules or [nn.Tanh()])[seed % max(1, len(modules))]
        )
    old = stir(nn.Sequential(nn.Linear(6, 6), *modules))
    for place in frozen & set(range(len(old))):
        old[place].eval()
    flags = [module.training for module in old.modules()]
    new, edits = nw.accelerate(old)
    assert flags == [module.training for module in new.modules()]
    assert edits.notes == ()
    x = torch.randn(FLAT)
    assume(smallest_spread(old, x) > 1e-3)
    torch.testing.assert_close(
        measure(new, x), measure(old, x), rtol=1e-9, atol=1e-11
    )  # each module in its mode
    same(old, new, x)
    back, _ = nw.decelerate(new)
    assert repr(back) == repr(old)
    assert [type(module) for module in back.modules()] == [type(module) for module in old.modules()]


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
