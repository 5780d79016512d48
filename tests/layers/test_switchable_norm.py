"""Switchable normalization: the mixture, its limits, and inputs without positions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from normwise import layers as nw
from normwise.testing import assert_close


def softmax(scores: np.ndarray) -> np.ndarray:
    return np.exp(scores) / np.exp(scores).sum()


def trained(rank: int, momentum: float | None = 0.3) -> nn.Module:
    layer = getattr(nw, f"SwitchableNorm{rank}d")(4, momentum=momentum).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return layer


def batch(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64) * 2 + 1


def mixed(layer: nn.Module, x: np.ndarray, batch_mean: np.ndarray, batch_var: np.ndarray) -> np.ndarray:
    """The layer's output, from the statistics of each kind by numpy."""
    shape = (1, -1, *(1,) * (x.ndim - 2))
    places, features = tuple(range(2, x.ndim)), tuple(range(1, x.ndim))
    kinds = [
        (x.mean(features, keepdims=True), x.var(features, keepdims=True)),
        (batch_mean.reshape(shape), batch_var.reshape(shape)),
    ]
    if places:
        kinds.insert(0, (x.mean(places, keepdims=True), x.var(places, keepdims=True)))
    scores = [w.detach().numpy()[-len(kinds) :] for w in (layer.mean_weight, layer.var_weight)]
    mean = sum(p * kind[0] for p, kind in zip(softmax(scores[0]), kinds, strict=True))
    var = sum(q * kind[1] for q, kind in zip(softmax(scores[1]), kinds, strict=True))
    weight, bias = (value.detach().numpy().reshape(shape) for value in (layer.weight, layer.bias))
    return (x - mean) / np.sqrt(var + layer.eps) * weight + bias


@pytest.mark.parametrize(
    ("rank", "shape"), [(1, (5, 4)), (1, (5, 4, 3)), (2, (3, 4, 2, 5)), (3, (2, 4, 2, 3, 2))]
)
@pytest.mark.parametrize("momentum", [0.3, None])
def test_values(rank: int, shape: tuple[int, ...], momentum: float | None) -> None:
    layer, axes = trained(rank, momentum), (0, *range(2, len(shape)))
    mean, var = np.zeros(4), np.ones(4)
    for step in range(2):
        x = batch(shape, step).numpy()
        assert_close(layer(torch.from_numpy(x)), torch.from_numpy(mixed(layer, x, x.mean(axes), x.var(axes))))
        rate = momentum or 1 / (step + 1)
        mean = mean + rate * (x.mean(axes) - mean)
        var = var + rate * (x.var(axes, ddof=1) - var)
        assert_close(layer.running_mean, torch.from_numpy(mean))
        assert_close(layer.running_var, torch.from_numpy(var))
    x = batch(shape, 5).numpy()
    assert_close(layer.eval()(torch.from_numpy(x)), torch.from_numpy(mixed(layer, x, mean, var)))


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_one_kind_alone_is_torchs_layer(kind: int) -> None:
    layer = nw.SwitchableNorm2d(4).double()
    with torch.no_grad():
        for scores in (layer.mean_weight, layer.var_weight):
            scores.fill_(-1e3)[kind] = 0.0
    theirs = (nn.InstanceNorm2d(4), nn.GroupNorm(1, 4), nn.BatchNorm2d(4))[kind].double()
    x, other = batch((3, 4, 2, 5)).requires_grad_(), batch((3, 4, 2, 5)).requires_grad_()
    y, z = layer(x), theirs(other)
    assert_close(y, z)
    g = batch(y.shape, 7)
    y.backward(g)
    z.backward(g)
    assert_close(x.grad, other.grad)


def test_without_positions_instances_have_no_part() -> None:
    for shape in ((5, 4), (5, 4, 1)):
        layer = trained(1)
        y = layer(batch(shape))
        with torch.no_grad():
            for scores in (layer.mean_weight, layer.var_weight):
                scores[0] = 50.0
        assert torch.equal(layer(batch(shape)), y)
        layer(batch(shape)).backward(batch(shape, 7))
        assert layer.mean_weight.grad[0] == 0
        assert layer.mean_weight.grad[1].abs() > 0


def test_state() -> None:
    state = nw.SwitchableNorm2d(4).state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == {
        **dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (4,)),
        **dict.fromkeys(("mean_weight", "var_weight"), (3,)),
        "num_batches_tracked": (),
    }
