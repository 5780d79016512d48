"""Layers that go to Flax and come from it compute the same: Flax's formulas are coded here in numpy."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from normwise import layers
from normwise.errors import ArgumentError, UnknownNameError
from normwise.layers.normalized import normalized
from normwise.surgery import ForeignLayer, from_flax, to_flax


def flax(kind: str, config: dict[str, Any], variables: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """`flax.linen`'s layer in evaluation on channels last; checked by hand against Flax 0.12."""
    params, stats = variables.get("params", {}), variables.get("batch_stats", {})
    if kind == "Dense":
        return x @ params["kernel"] + params.get("bias", 0.0)
    if kind == "Conv":
        return convolved(config, params, x)
    eps = config["epsilon"]
    mean: Any = 0.0
    if kind == "BatchNorm":
        mean, var = stats["mean"], stats["var"]
    elif kind == "LayerNorm":
        mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    elif kind == "RMSNorm":
        var = np.square(x).mean(-1, keepdims=True)
    else:
        groups = x.reshape(len(x), -1, config["num_groups"], x.shape[-1] // config["num_groups"])
        shape = (len(x), *(1,) * (x.ndim - 2), x.shape[-1])
        mean, var = (
            np.repeat(f(groups, axis=(1, 3)), groups.shape[-1], axis=-1).reshape(shape)
            for f in (np.mean, np.var)
        )
    y = (x - mean) / np.sqrt(var + eps)
    assert ("scale" in params) == config["use_scale"]
    assert ("bias" in params) == config.get("use_bias", False)
    return y * params.get("scale", 1.0) + params.get("bias", 0.0)


def convolved(config: dict[str, Any], params: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """Kernels are (*, in / groups, out); output features of a group lie together."""
    kernel = params["kernel"]
    x = np.pad(x, ((0, 0), *config["padding"], (0, 0)))
    size = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(
            x.shape[1:-1], kernel.shape, config["strides"], config["kernel_dilation"], strict=False
        )
    ]
    y = np.zeros((len(x), *size, kernel.shape[-1]))
    groups = config["feature_group_count"]
    inputs, outputs = kernel.shape[-2], kernel.shape[-1] // groups
    for place in itertools.product(*map(range, kernel.shape[:-2])):
        window = tuple(
            slice(p * d, p * d + s * n, s)
            for p, d, s, n in zip(place, config["kernel_dilation"], config["strides"], size, strict=True)
        )
        for g in range(groups):
            part = x[(slice(None), *window, slice(g * inputs, (g + 1) * inputs))]
            y[..., g * outputs : (g + 1) * outputs] += (
                part @ kernel[place][:, g * outputs : (g + 1) * outputs]
            )
    return y + params.get("bias", 0.0)


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 2 + 1


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "batch": (lambda: nn.BatchNorm1d(4, momentum=0.3, eps=1e-2), (6, 4), "BatchNorm"),
    "batch of images": (lambda: layers.BatchNorm2d(4, bias=False), (3, 4, 5, 2), "BatchNorm"),
    "layer": (lambda: nn.LayerNorm(4), (3, 4), "LayerNorm"),
    "layer, no affine": (lambda: nn.LayerNorm(4, elementwise_affine=False), (3, 4), "LayerNorm"),
    "layer over channels": (lambda: layers.LayerNorm2d(4), (3, 4, 5, 2), "LayerNorm"),
    "group": (lambda: nn.GroupNorm(2, 4), (3, 4, 5, 2), "GroupNorm"),
    "instance": (lambda: nn.InstanceNorm1d(4, affine=True), (3, 4, 5), "GroupNorm"),
    "rms": (lambda: nn.RMSNorm(4), (3, 4), "RMSNorm"),
    "rms over channels": (lambda: layers.RMSNorm3d(4), (3, 4, 2, 2, 3), "RMSNorm"),
    "linear": (lambda: nn.Linear(4, 3), (6, 4), "Dense"),
    "convolution, 1d": (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=2), (3, 4, 9), "Conv"),
    "convolution, 2d": (
        lambda: nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=1, groups=2, bias=False),
        (3, 4, 7, 5),
        "Conv",
    ),
    "convolution, same": (lambda: nn.Conv2d(4, 6, 3, padding="same", dilation=2), (3, 4, 7, 5), "Conv"),
    "convolution, depthwise": (lambda: nn.Conv2d(4, 8, 3, groups=4), (3, 4, 7, 5), "Conv"),
    "convolution, 3d": (lambda: nn.Conv3d(4, 2, 2, dilation=(1, 2, 1)), (2, 4, 3, 4, 5), "Conv"),
}


@pytest.mark.parametrize("name", CASES)
def test_there_and_back(name: str, stir: Callable[..., Any]) -> None:
    make, shape, kind = CASES[name]
    layer, x = stir(make()).eval(), drawn(*shape)
    foreign = to_flax(layer)
    assert foreign.kind == kind
    expected = layer(x).detach()
    theirs = flax(kind, dict(foreign.config), foreign.variables, x.movedim(1, -1).numpy())
    np.testing.assert_allclose(np.moveaxis(theirs, -1, 1), expected.numpy(), rtol=1e-10, atol=1e-10)
    rank = max(len(shape) - 2, 1)
    options = {"channels_first": "channels" in name, "rank": rank}
    if not foreign.weights:
        with pytest.raises(ArgumentError, match=r"must have an array.*`channels`"):
            from_flax(kind, foreign.config, {})
    for weights in (foreign.weights, foreign.variables) if foreign.weights else ():
        back = from_flax(kind, foreign.config, weights, **options).eval()
        torch.testing.assert_close(back(x).detach(), expected, rtol=1e-12, atol=1e-12)
    again = to_flax(back := from_flax(foreign, **options))
    torch.testing.assert_close(back.eval()(x).detach(), expected, rtol=1e-12, atol=1e-12)
    assert again.config.keys() == foreign.config.keys()
    for key, value in foreign.config.items():
        assert again.config[key] == (pytest.approx(value) if isinstance(value, float) else value), key
    for key, values in foreign.weights.items():
        np.testing.assert_array_equal(again.weights[key], values)


def test_training_goes_on_by_flaxs_conventions() -> None:
    """``ra = momentum · ra + (1 − momentum) · batch``, with the biased variance."""
    arrays = {"scale": np.ones(4), "bias": np.zeros(4), "mean": np.full(4, 0.5), "var": np.full(4, 2.0)}
    layer = from_flax("BatchNorm", {"momentum": 0.9, "epsilon": 1e-3}, arrays, rank=2)
    assert isinstance(layer, layers.BatchNorm2d)
    mean, var = arrays["mean"], arrays["var"]
    for step in range(3):
        x = drawn(3, 4, 2, 2) * (step + 1)
        layer(x)
        columns = x.movedim(1, -1).reshape(-1, 4).numpy()
        mean, var = 0.9 * mean + 0.1 * columns.mean(0), 0.9 * var + 0.1 * columns.var(0)
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var.numpy(), var, rtol=1e-12)


def test_defaults_are_those_of_flax() -> None:
    one = {"scale": np.ones(32, np.float32)}
    tracked = one | {"mean": np.zeros(32), "var": np.ones(32)}
    batch = from_flax("BatchNorm", {"axis": -1}, tracked)
    assert (batch.eps, round(batch.momentum, 6)) == (1e-5, 0.01)
    assert from_flax("LayerNorm", {"reduction_axes": -1, "feature_axes": (-1,)}, one).eps == 1e-6
    group = from_flax("GroupNorm", {"group_size": None, "reduction_axes": None}, one)
    assert (group.num_groups, group.eps) == (32, 1e-6)
    assert from_flax("GroupNorm", {"num_groups": None, "group_size": 8}, one).num_groups == 4
    kernel = {"kernel": np.ones((3, 3, 2, 4), np.float32)}
    same = from_flax("Conv", {}, kernel)  # padding is "SAME" there
    assert same(torch.ones(1, 2, 5, 6, dtype=torch.float32)).shape == (1, 4, 5, 6)
    assert from_flax("Conv", {"padding": 1, "strides": 2}, kernel).padding == (1, 1)
    assert from_flax("Conv", {"padding": "VALID", "strides": None}, kernel).padding == (0, 0)
    assert from_flax("Linear", {"features": 3}, {"kernel": np.ones((2, 3))}).weight.shape == (3, 2)


def test_a_bias_without_a_scale() -> None:
    layer = from_flax("LayerNorm", {"use_scale": False}, {"bias": np.arange(3.0)})
    assert not layer.weight.requires_grad
    assert layer.bias.tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("Conv", {"strides": 2}, {"kernel": np.ones((3, 3, 1, 1))}), "depends on the input's size"),
        (("Conv", {"padding": "CIRCULAR"}, {"kernel": np.ones((3, 1, 1))}), "'CIRCULAR'"),
        (("Conv", {"padding": [(0, 1)]}, {"kernel": np.ones((3, 1, 1))}), "the same before and after"),
        (("Conv", {"input_dilation": 2}, {"kernel": np.ones((3, 1, 1))}), "`input_dilation` must be 1"),
        (("Dense", {}, {"bias": np.ones(1)}), "must have a `kernel`"),
        (
            ("LayerNorm", {"reduction_axes": (-2, -1)}, {"scale": np.ones(1)}),
            "`reduction_axes` must be the last axis",
        ),
        (("BatchNorm", {"axis": 1}, {"scale": np.ones(1)}), "`axis` must be the last axis"),
        (("LayerNorm", {}, {}), "must have an array"),
        (("BatchNorm", {}, {"scale": np.ones(1)}, 4), "`rank` must be 1, 2 or 3"),
        ((nn.Linear(2, 2),), "Got a Linear"),
    ],
)
def test_clear_errors(given: Any, message: str) -> None:
    rank = given[3] if len(given) > 3 else None
    with pytest.raises(ArgumentError, match=message):
        from_flax(*given[:3], rank=rank)


@pytest.mark.parametrize("kind", ["Linear", "Conv1d"])
def test_a_norm_inside_and_computed_weights_are_refused(kind: str) -> None:
    def make() -> nn.Module:
        return nn.Linear(4, 3) if kind == "Linear" else nn.Conv1d(4, 3, 1)

    with pytest.raises(ArgumentError, match=f"Got a Normalized{kind}, which holds a norm"):
        to_flax(normalized(make(), layers.BatchNorm1d(3)))
    pruned = make()
    prune.random_unstructured(pruned, "weight", 0.5)
    with pytest.raises(ArgumentError, match=r"`weight` must be a parameter.*prune\.remove"):
        to_flax(pruned)
    prune.remove(pruned, "weight")
    assert to_flax(pruned).weights["kernel"].shape[-1] == 3


def test_unknown_names() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'BatchNorm'"):
        from_flax(ForeignLayer("BatchNorm2d", {}, {}))
    with pytest.raises(ArgumentError, match="momentum=None"):
        to_flax(nn.BatchNorm1d(4, momentum=None))
