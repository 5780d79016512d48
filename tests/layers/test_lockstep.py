"""Micro-batches in lockstep are the large batch."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from normwise import layers
from normwise.errors import ArgumentError
from normwise.layers import lockstep
from normwise.testing import assert_close


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        layers.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 5, 3),
        layers.BatchNormAct2d(5, activation="silu"),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ).double()


def batches(*sizes: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(n, 3, 6, 6, generator=generator, dtype=torch.float64) * (i + 1) + i
        for i, n in enumerate(sizes)
    ]


def step(model: nn.Module, outputs: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    weights = torch.linspace(-1, 1, outputs.numel(), dtype=outputs.dtype).view(outputs.shape)
    (outputs * weights).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()} | dict(model.named_buffers())


@pytest.mark.parametrize("sizes", [(2, 2), (1, 4, 3), (6,)])
def test_outputs_gradients_and_statistics_are_those_of_the_large_batch(sizes: tuple[int, ...]) -> None:
    ours = network()
    large = copy.deepcopy(ours)
    micro = batches(*sizes)
    outputs = torch.cat(lockstep(ours, micro))
    expected = large(torch.cat(micro))
    assert_close(outputs, expected)
    theirs = step(large, expected)
    for name, value in step(ours, outputs).items():
        assert_close(value, theirs[name], what=name, scale=1.0)
    assert ours[1].num_batches_tracked == 1
    if len(sizes) > 1:  # the hurt: without it they are far from that
        apart = torch.cat([large(x) for x in micro])
        assert (apart - expected).abs().max() > 0.05
    # Afterwards all is as before.
    assert_close(ours(micro[0]), copy.deepcopy(ours)(micro[0]))
    assert threading.active_count() < 20


def test_images_of_several_sizes() -> None:
    """What cannot be concatenated: statistics are over the positions of all."""
    layer = layers.BatchNorm2d(3).double()
    small, wide = batches(2)[0], torch.randn(1, 3, 2, 9, dtype=torch.float64)
    outputs = lockstep(layer, [small, wide])
    flat = torch.cat([x.movedim(1, 0).flatten(1) for x in (small, wide)], dim=1).T
    expected = layers.BatchNorm1d(3).double()(flat)
    assert_close(torch.cat([y.movedim(1, 0).flatten(1) for y in outputs], dim=1).T, expected)


def test_arguments_modes_and_evaluation() -> None:
    layer = layers.BatchNormAct1d(4, activation="relu")
    x, residual = torch.randn(6, 4), torch.randn(6, 4)
    named = [{"input": x[:2], "residual": residual[:2]}, {"input": x[2:], "residual": residual[2:]}]
    assert_close(torch.cat(lockstep(layer, named)), copy.deepcopy(layer)(x, residual))
    pairs = [(x[:3], residual[:3]), (x[3:], residual[3:])]
    with torch.no_grad():
        assert not lockstep(layer, pairs)[0].requires_grad
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model = nn.Sequential(nn.Linear(4, 4), layers.BatchNorm1d(4))
        assert lockstep(model, [x[:3], x[3:]])[0].dtype == torch.bfloat16
    layer.eval()
    assert_close(torch.cat(lockstep(layer, pairs)), layer(x, residual))


def test_random_numbers_are_drawn_in_order() -> None:
    model = nn.Sequential(nn.Dropout(0.5), layers.BatchNorm1d(4), nn.Dropout(0.5))
    results = []
    for _ in range(2):
        torch.manual_seed(3)
        results.append(torch.cat(lockstep(model, [torch.ones(3, 4), torch.ones(2, 4)])))
    assert torch.equal(*results)


def test_an_error_of_the_model_comes_through() -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) == 2:
                raise KeyError("two")
            return x

    model = nn.Sequential(Fails(), layers.BatchNorm1d(4))
    with pytest.raises(KeyError, match="two"):
        lockstep(model, [torch.randn(3, 4), torch.randn(2, 4), torch.randn(3, 4)])
    assert model[1](torch.randn(5, 4)).shape == (5, 4)


def test_micro_batches_that_go_other_ways_are_refused() -> None:
    class Chooses(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = layers.BatchNorm1d(4), layers.BatchNorm1d(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.first(x) if len(x) == 3 else self.second(x)

    model = Chooses()
    with pytest.raises(ArgumentError, match="2 of 2 at 2 different layers"):
        lockstep(model, [torch.randn(3, 4), torch.randn(2, 4)])
    assert model.first.num_batches_tracked == 0

    class Skips(Chooses):
        def forward(self, x: Tensor) -> Tensor:
            return self.first(x) if len(x) == 3 else x

    with pytest.raises(ArgumentError, match="1 of 2 at 1 different layers"):
        lockstep(Skips(), [torch.randn(3, 4), torch.randn(2, 4)])
    with pytest.raises(ArgumentError, match="at least one batch"):
        lockstep(model, [])


def test_a_layer_that_is_called_twice() -> None:
    layer = layers.BatchNorm1d(4).double()
    model = nn.Sequential(layer, nn.Tanh(), layer)
    other = copy.deepcopy(model)
    x = torch.randn(7, 4, dtype=torch.float64)
    assert_close(torch.cat(lockstep(model, [x[:3], x[3:]])), other(x))
    assert_close(layer.running_var, other[0].running_var)


def test_checkpointing_within_lockstep_says_that_it_cannot() -> None:
    """A recomputation runs one replica alone: it would wait for others that do not come."""

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = layers.BatchNorm1d(4)

        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(self.norm, x, use_reentrant=False)

    model = Checkpointed()
    outputs = lockstep(model, [torch.randn(3, 4, requires_grad=True), torch.randn(2, 4, requires_grad=True)])
    with pytest.raises(Exception, match="saved during"):
        torch.cat(outputs).square().sum().backward()
