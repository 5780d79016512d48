"""Fused layers: the plain layer, then residual, activation and dropout, under the same keys."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from normwise import layers
from normwise.errors import ArgumentError, UnknownNameError
from normwise.testing import LayerCase, assert_close, check_layer

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "none": nn.Identity(),
    "relu": nn.ReLU(),
    "leaky_relu": nn.LeakyReLU(),
    "gelu": nn.GELU(),
    "silu": nn.SiLU(),
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
}
SHAPES = {"1d": (4, 6, 5), "2d": (4, 6, 3, 5), "3d": (2, 6, 3, 2, 4), "": (4, 6, 5)}
FAMILIES = [
    *(
        f"{family}{rank}"
        for family in ("BatchNorm", "InstanceNorm", "LayerNorm", "RMSNorm")
        for rank in ("1d", "2d", "3d")
    ),
    "GroupNorm",
    "LayerNorm",
    "RMSNorm",
]


def build(name: str, **options: object) -> tuple[nn.Module, nn.Module, tuple[int, ...]]:
    """The plain layer and the fused one with the same random parameters, and a shape for both."""
    family, rank = (name[:-2], name[-2:]) if name.endswith("d") else (name, "")
    shape = SHAPES[rank]
    args = {"GroupNorm": (3, 6)}.get(name, (6,) if rank else (5,))
    plain, fused = getattr(layers, name)(*args), getattr(layers, f"{family}Act{rank}")(*args, **options)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3 + 1)
    fused.load_state_dict(plain.state_dict(), strict=True)
    return plain, fused, shape


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
@pytest.mark.parametrize("training", [True, False])
def test_is_the_plain_layer_and_then_the_rest(name: str, activation: str, training: bool) -> None:
    torch.manual_seed(0)
    plain, fused, shape = build(name, activation=activation)
    plain.train(training)
    fused.train(training)
    assert list(plain.state_dict()) == list(fused.state_dict())
    x, r = torch.randn(shape, requires_grad=True), torch.randn(shape, requires_grad=True)
    cotangent = torch.randn(shape)
    expected, actual = ACTIVATIONS[activation](plain(x) + r), fused(x, residual=r)
    assert_close(actual, expected, what="output")
    theirs = torch.autograd.grad(expected, [x, r, *plain.parameters()], cotangent)
    mine = torch.autograd.grad(actual, [x, r, *fused.parameters()], cotangent)
    for a, b in zip(mine, theirs, strict=True):
        assert_close(a, b, what="gradient")
    for (key, a), (_, b) in zip(fused.named_buffers(), plain.named_buffers(), strict=True):
        assert torch.equal(a, b), key
    without = fused.eval()(x)
    assert_close(without, ACTIVATIONS[activation](plain.eval()(x)), what="evaluation")


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation: str) -> None:
    torch.manual_seed(0)
    plain, fused, shape = build("BatchNorm2d", activation=activation)
    x = torch.randn(shape)
    assert_close(fused(x), ACTIVATIONS[activation](plain(x)), what="output")


@pytest.mark.parametrize("name", FAMILIES)
def test_dropout_is_last_and_for_training(name: str) -> None:
    torch.manual_seed(0)
    plain, fused, shape = build(name, activation="sigmoid", dropout=0.25)
    x = torch.randn(shape)
    full = torch.sigmoid(plain(x))
    dropped = fused(x)
    zero = dropped == 0
    assert 0 < zero.sum() < zero.numel()
    assert_close(dropped[~zero], full[~zero] / 0.75, what="what is kept")
    fused.eval()
    plain.eval()
    assert_close(fused(x), torch.sigmoid(plain(x)), what="evaluation")


@pytest.mark.parametrize("name", FAMILIES)
def test_none_is_a_subclass_of_torchs(name: str) -> None:
    _, fused, _ = build(name)
    norms = (
        nn.modules.batchnorm._NormBase,
        nn.GroupNorm,
        nn.LayerNorm,
        nn.RMSNorm,
    )
    assert not isinstance(fused, norms)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(fused))
    assert converted[0] is fused


@pytest.mark.parametrize("name", FAMILIES)
def test_the_description_says_what_the_plain_one_says_and_more(name: str) -> None:
    plain, fused, _ = build(name, activation="silu", dropout=0.1)
    assert fused.extra_repr() == f"{plain.extra_repr()}, activation='silu', dropout=0.1"


@pytest.mark.parametrize("name", FAMILIES)
def test_refusals(name: str) -> None:
    _, fused, shape = build(name)
    with pytest.raises(ArgumentError, match="residual"):
        fused(torch.randn(shape), residual=torch.randn(shape[-1:]))
    with pytest.raises(UnknownNameError, match=r"Act.*'swish'.*Known: "):
        build(name, activation="swish")
    with pytest.raises(ArgumentError, match=r"Act.*dropout.*Got 1\.5"):
        build(name, dropout=1.5)


@pytest.mark.parametrize("feature", ["compile", "gradients", "double_backward", "layout", "vmap", "export"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "leaky_relu"])
def test_activations_in_place_keep_the_contract(activation: str, feature: str) -> None:
    for make in (
        lambda: layers.BatchNormAct2d(6, activation=activation),
        lambda: layers.LayerNormAct2d(6, activation=activation),
        lambda: layers.RMSNormAct(5, activation=activation),
    ):
        check_layer(LayerCase(make, (3, 6, 4, 5)), feature)
