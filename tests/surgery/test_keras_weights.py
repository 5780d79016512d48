"""Layers that go to Keras and come from it compute the same there as here."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from normwise import layers
from normwise.errors import ArgumentError, UnknownNameError
from normwise.layers.normalized import normalized
from normwise.surgery import ForeignLayer, from_keras, to_keras


@pytest.fixture(scope="module")
def keras() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "torch")
        import keras  # after the back end is named

        assert os.environ["KERAS_BACKEND"] == "torch"
        # The policy is made from floatx where it is first asked for, and does not follow it any more.
        policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
        keras.config.set_floatx("float64")  # else matrix products are float32, whatever the layer's dtype
        keras.config.set_dtype_policy("float64")
        yield keras
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


CLOSE = {"rtol": 1e-5, "atol": 1e-5, "check_dtype": False}  # Keras computes in float32


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 2 + 1


def assert_same(mine: Any, theirs: Any) -> None:
    assert mine.keys() == theirs.keys()
    for key, value in theirs.items():
        assert mine[key] == (pytest.approx(value) if isinstance(value, float) else value), key


def last(x: Tensor) -> Tensor:
    """Channels last."""
    return x.movedim(1, -1)


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "batch": (lambda: nn.BatchNorm1d(4, momentum=0.3, eps=1e-2), (6, 4), "BatchNormalization"),
    "batch of images": (lambda: layers.BatchNorm2d(4), (3, 4, 5, 2), "BatchNormalization"),
    "batch, 3d": (lambda: nn.BatchNorm3d(4, bias=False), (3, 4, 2, 2, 2), "BatchNormalization"),
    "batch, no affine": (lambda: nn.BatchNorm1d(4, affine=False), (3, 4, 5), "BatchNormalization"),
    "batch, sync": (lambda: nn.SyncBatchNorm(4), (6, 4), "BatchNormalization"),
    "layer": (lambda: nn.LayerNorm(4), (3, 4), "LayerNormalization"),
    "layer, no bias": (lambda: layers.LayerNorm(4, bias=False), (3, 4), "LayerNormalization"),
    "layer over channels": (lambda: layers.LayerNorm2d(4), (3, 4, 5, 2), "LayerNormalization"),
    "group": (lambda: nn.GroupNorm(2, 4), (3, 4, 5, 2), "GroupNormalization"),
    "group, no affine": (lambda: layers.GroupNorm(2, 4, affine=False), (3, 4, 5), "GroupNormalization"),
    "instance": (lambda: nn.InstanceNorm2d(4, affine=True), (3, 4, 5, 2), "GroupNormalization"),
    "rms": (lambda: nn.RMSNorm(4, eps=1e-3), (3, 4), "RMSNormalization"),
    "rms, eps of the dtype": (lambda: nn.RMSNorm(4), (3, 4), "RMSNormalization"),
    "rms over channels": (lambda: layers.RMSNorm1d(4), (3, 4, 5), "RMSNormalization"),
    "rms, no weight": (lambda: nn.RMSNorm(4, elementwise_affine=False), (3, 4), "RMSNormalization"),
    "linear": (lambda: nn.Linear(4, 3), (6, 4), "Dense"),
    "linear, no bias": (lambda: nn.Linear(4, 3, bias=False), (6, 4), "Dense"),
    "convolution, 1d": (lambda: nn.Conv1d(4, 6, 3, stride=2), (3, 4, 9), "Conv1D"),
    "convolution, groups": (lambda: nn.Conv2d(4, 6, (3, 2), groups=2, bias=False), (3, 4, 7, 5), "Conv2D"),
    "convolution, same": (lambda: nn.Conv2d(4, 6, 3, padding="same", dilation=2), (3, 4, 7, 5), "Conv2D"),
    "convolution, even same": (lambda: nn.Conv2d(4, 6, 4, padding="same"), (3, 4, 7, 5), "Conv2D"),
    "convolution, padded": (lambda: nn.Conv2d(4, 6, (3, 5), padding=(1, 2)), (3, 4, 7, 5), "Conv2D"),
    "convolution, 3d": (lambda: nn.Conv3d(4, 2, 2, padding="valid"), (2, 4, 3, 4, 5), "Conv3D"),
}


def built(keras: ModuleType, foreign: ForeignLayer, shape: tuple[int, ...]) -> Any:
    layer = getattr(keras.layers, foreign.kind)(**foreign.config)
    layer.build((None, *shape[2:], shape[1]))
    layer.set_weights(list(foreign.weights.values()))
    return layer


@pytest.mark.filterwarnings(
    "ignore:Using padding='same' with even kernel lengths:UserWarning"
)  # torch's remark
@pytest.mark.parametrize("name", CASES)
def test_there_and_back(name: str, keras: ModuleType, stir: Callable[..., Any]) -> None:
    make, shape, kind = CASES[name]
    layer, x = stir(make()).eval(), drawn(*shape)
    foreign = to_keras(layer)
    assert foreign.kind == kind
    theirs = built(keras, foreign, shape)
    expected = layer(x).detach()
    torch.testing.assert_close(theirs(last(x)).detach().movedim(-1, 1), expected, **CLOSE)
    if not foreign.weights:
        with pytest.raises(ArgumentError, match="must have an array"):
            from_keras(theirs)
    over_channels = "channels" in name
    for given in (theirs, foreign) if foreign.weights else (foreign,):
        options = {"channels_first": over_channels, "rank": len(shape) - 2 if len(shape) > 2 else 1}
        back = from_keras(given, **options).eval()
        torch.testing.assert_close(back.double()(x).detach(), expected, **CLOSE)
        again = to_keras(back)
        assert again.kind == foreign.kind
        assert_same(again.config, foreign.config)
        assert list(again.weights) == list(foreign.weights)
        for key, values in foreign.weights.items():
            np.testing.assert_allclose(again.weights[key], values, rtol=1e-7 if given is theirs else 0)
    # The arrays are nobody's memory.
    for values in foreign.weights.values():
        values[...] = 0.0
    torch.testing.assert_close(layer(x).detach(), expected, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(6, 4), (3, 4, 5), (3, 4, 5, 2), (3, 4, 2, 2, 2)])
def test_training_goes_on_by_kerass_conventions(shape: tuple[int, ...], keras: ModuleType) -> None:
    theirs = keras.layers.BatchNormalization(momentum=0.8)
    theirs.build((None, *shape[2:], 4))
    ours = from_keras(theirs)
    assert isinstance(ours, getattr(layers, f"BatchNorm{max(len(shape) - 2, 1)}d"))
    for step in range(3):
        x = drawn(*shape) * (step + 1)
        expected = theirs(last(x), training=True).detach().movedim(-1, 1)
        torch.testing.assert_close(ours(x).detach(), expected, **CLOSE)
    torch.testing.assert_close(ours.running_var, theirs.moving_variance.value.detach(), **CLOSE)
    torch.testing.assert_close(ours.running_mean, theirs.moving_mean.value.detach(), **CLOSE)
    # And once more through the dictionary.
    back = built(keras, to_keras(ours), shape)
    for mine, old in zip(back.weights, theirs.weights, strict=True):
        torch.testing.assert_close(mine.value, old.value, **CLOSE)
    assert back.momentum == pytest.approx(0.8)


@pytest.mark.parametrize("kind", ["BatchNormalization", "LayerNormalization", "GroupNormalization"])
def test_a_shift_without_a_scale(kind: str, keras: ModuleType) -> None:
    theirs = getattr(keras.layers, kind)(scale=False, **({"groups": -1} if kind[0] == "G" else {}))
    theirs.build((None, 5, 4))
    theirs.set_weights([drawn(*w.shape).abs().numpy() for w in theirs.weights])
    ours, x = from_keras(theirs).eval(), drawn(3, 4, 5)
    x = x if kind != "LayerNormalization" else x.mT
    expected = theirs(x if kind == "LayerNormalization" else x.mT).detach()
    got = ours(x).detach()
    torch.testing.assert_close(got if kind == "LayerNormalization" else got.mT, expected, **CLOSE)
    assert not ours.weight.requires_grad
    assert ours.bias.requires_grad


@pytest.mark.parametrize(("kind", "rank"), [("DepthwiseConv1D", 1), ("DepthwiseConv2D", 2)])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_depthwise_kernels(kind: str, rank: int, padding: str, keras: ModuleType) -> None:
    theirs = getattr(keras.layers, kind)(3, depth_multiplier=2, padding=padding)
    x = drawn(3, 4, *(7, 6)[:rank])
    expected = theirs(last(x)).detach().movedim(-1, 1)
    ours = from_keras(theirs)
    torch.testing.assert_close(ours(x).detach(), expected, **CLOSE)
    assert ours.groups == 4


def test_by_name_with_defaults_and_lists() -> None:
    """As arrays come out of a file, without Keras."""
    layer = from_keras(
        "BatchNormalization",
        {"axis": [3]},
        {"gamma": [1, 2], "moving_mean": [0, 0], "moving_variance": [1, 1]},
        rank=2,
    )
    assert (layer.eps, round(layer.momentum, 6), layer.bias) == (1e-3, 0.01, None)
    assert (
        from_keras("LayerNormalization", {}, {"gamma": np.ones(3, np.float32)}).weight.dtype == torch.float32
    )
    assert from_keras("RMSNormalization", {}, {"scale": np.ones(3)}).eps == 1e-6
    assert from_keras("Conv2D", {}, {"kernel": np.ones((3, 2, 4, 6))}).weight.shape == (6, 4, 3, 2)


def test_bfloat16_goes_as_float32() -> None:
    foreign = to_keras(nn.Linear(4, 3).bfloat16())
    assert foreign.weights["kernel"].dtype == np.float32


def by_a_hook(layer: nn.Module, way: str) -> nn.Module:
    """The layer with a weight that is computed before each call."""
    if way == "pruned":
        prune.random_unstructured(layer, "weight", 0.5)
        return layer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: nn.Module = getattr(nn.utils, way)(layer)
        return found


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.BatchNorm1d(4, momentum=None), "momentum=None"),
        (layers.GhostBatchNorm2d(4, ghost_size=2), r"Got a GhostBatchNorm2d\.$"),
        (normalized(nn.Linear(4, 3), layers.BatchNorm1d(3)), "Got a NormalizedLinear, which holds a norm"),
        (normalized(nn.Conv1d(4, 3, 1), layers.BatchNorm1d(3)), "`normwise.fold` takes a batch norm"),
        *(
            (by_a_hook(layer(), way), "`weight` must be a parameter. Got one that a hook computes")
            for layer in (lambda: nn.Linear(4, 3), lambda: nn.Conv1d(4, 3, 1))
            for way in ("weight_norm", "spectral_norm", "pruned")
        ),
        (nn.BatchNorm1d(4, track_running_stats=False), "track_running_stats=False"),
        (nn.InstanceNorm1d(4, track_running_stats=True), "must not keep running statistics"),
        (nn.LayerNorm((2, 3)), r"must be one axis.*Got \(2, 3\)"),
        (nn.Conv2d(4, 4, 3, stride=2, padding=1), "keras.layers.ZeroPadding2D before it"),
        (nn.Conv2d(4, 4, 3, padding=2), "no padding"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), "by zeros. Got 'circular'"),
        (nn.ConvTranspose2d(4, 4, 3), "must be one of.*Got a ConvTranspose2d"),
        (nn.ReLU(), "Got a ReLU"),
        (layers.BatchNormAct1d(4, activation="relu"), "take a fused layer apart with `decelerate`"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), "remove the parametrization first"),
        (3, "Got a int"),
    ],
)
def test_what_keras_does_not_have(layer: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        to_keras(layer)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ("Conv2D", {"strides": 2, "padding": "same"}, {"kernel": np.ones((3, 3, 1, 1))}),
            "depends on the input's size",
        ),
        (("Conv1D", {"padding": "causal"}, {"kernel": np.ones((3, 1, 1))}), "'causal'"),
        (
            ("Dense", {"activation": "relu"}, {"kernel": np.ones((1, 1))}),
            "no activation of its own. Got 'relu'",
        ),
        (("Dense", {}, {}), "must have a `kernel`"),
        (
            ("Dense", {}, {"kernel": np.ones((2, 3)), "bias": np.ones(2)}),
            r"`bias` must have the shape \(3,\)",
        ),
        (("BatchNormalization", {"renorm": True}, {"gamma": np.ones(1)}), "`renorm` must be off"),
        (("LayerNormalization", {"axis": [-2, -1]}, {"gamma": np.ones((1, 2))}), "one axis of channels"),
        (("LayerNormalization", {}, {}), "must have an array"),
        ((3,), "Got a int"),
    ],
)
def test_what_torch_does_not_have(given: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        from_keras(*given)


def test_wrong_names_and_ranks(keras: ModuleType) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'BatchNormalization'"):
        from_keras("BatchNormalisation")
    with pytest.raises(UnknownNameError, match="unknown layer 'Embedding'"):
        from_keras(keras.layers.Embedding(3, 2))
    with pytest.raises(ArgumentError, match=r"must be built.*build\(shape\)"):
        from_keras(keras.layers.Dense(3))
    with pytest.raises(ArgumentError, match="`rank` must be 1, 2 or 3"):
        from_keras("Dense", rank=4)
    with pytest.raises(ArgumentError, match="`rank` must be given for channels first"):
        from_keras("LayerNormalization", {}, {"gamma": np.ones(2)}, channels_first=True)
