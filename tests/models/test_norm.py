"""Normalizations by name: which layer, how many groups, and messages."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from normwise import layers
from normwise.errors import ArgumentError, UnknownNameError
from normwise.models.norm import Norm
from normwise.norms import KINDS


@pytest.mark.parametrize(
    ("spec", "features", "images"),
    [
        ("none", None, None),
        ("weight", None, None),
        ("spectral", None, None),
        ("standardized", None, None),
        ("centred", None, None),
        ("orthogonal", None, None),
        ("batch", layers.BatchNorm1d, layers.BatchNorm2d),
        ("layer", layers.LayerNorm, layers.LayerNorm2d),
        ("rms", layers.RMSNorm, layers.RMSNorm2d),
        ("group", layers.GroupNorm, layers.GroupNorm),
        ("batch_renorm", layers.BatchRenorm1d, layers.BatchRenorm2d),
        ("ghost", layers.GhostBatchNorm1d, layers.GhostBatchNorm2d),
        ("mean_only", layers.MeanOnlyBatchNorm1d, layers.MeanOnlyBatchNorm2d),
        ("switchable", layers.SwitchableNorm1d, layers.SwitchableNorm2d),
        ("decorrelated", layers.DecorrelatedBatchNorm1d, layers.DecorrelatedBatchNorm2d),
        ("dynamic_tanh", layers.DynamicTanh, layers.DynamicTanh2d),
    ],
)
def test_layer_for_each_name(spec: str, features: type | None, images: type | None) -> None:
    norm = Norm.parse(spec, "mlp")
    for layer, expected in ((norm.for_features(16), features), (norm.for_images(16, 4, 4), images)):
        assert layer is None if expected is None else type(layer) is expected


def test_instance_norm_is_affine_and_keeps_no_statistics() -> None:
    layer = Norm.parse("instance", "cnn").for_images(6, 2, 1)
    assert isinstance(layer, layers.InstanceNorm2d)
    assert layer.affine
    assert not layer.track_running_stats


@pytest.mark.parametrize(
    ("channels", "groups"),
    [(4, 1), (8, 1), (15, 1), (16, 2), (24, 3), (20, 2), (64, 8), (40, 5), (512, 32), (22, 2)],
)
def test_default_number_of_groups(channels: int, groups: int) -> None:
    layer = Norm.parse("group", "cnn").for_features(channels)
    assert isinstance(layer, layers.GroupNorm)
    assert layer.num_groups == groups


def test_number_of_groups_that_was_asked_for() -> None:
    layer = Norm.parse("group:4", "cnn").for_images(12, 2, 2)
    assert isinstance(layer, layers.GroupNorm)
    assert layer.num_groups == 4
    with pytest.raises(ArgumentError, match=r"Got 10 and 4\. hint: use a divisor of 10 \(1, 2, 5, 10\)"):
        Norm.parse("group:4", "cnn").for_features(10)


@pytest.mark.parametrize(
    ("spec", "layer", "attributes"),
    [
        ("ghost:16", "GhostBatchNorm2d", {"ghost_size": 16}),
        ("ghost", "GhostBatchNorm2d", {"ghost_size": 32}),
        (
            "batch_renorm",
            "BatchRenorm2d",
            {"plain_steps": 20, "d_max_step": 100, "r_max_step": 160, "momentum": 0.1},
        ),
        (
            "batch_renorm:5000",
            "BatchRenorm2d",
            {"plain_steps": 5_000, "d_max_step": 25_000, "r_max_step": 40_000},
        ),
        ("decorrelated", "DecorrelatedBatchNorm2d", {"num_groups": 1}),
        ("decorrelated:4", "DecorrelatedBatchNorm2d", {"num_groups": 4}),
        ("evonorm_s0", "EvoNorm2dS0", {"groups": 2}),
        ("evonorm_s0:4", "EvoNorm2dS0", {"groups": 4}),
        ("local_response", "LocalResponseNorm", {"size": 5, "k": 2.0, "alpha": 5e-4}),
        ("local_response:3", "LocalResponseNorm", {"size": 3}),
        ("filter_response", "FilterResponseNorm2d", {"threshold": True}),
        ("evonorm_b0", "EvoNorm2dB0", {}),
        ("global_response", "GlobalResponseNorm2d", {}),
    ],
)
def test_layer_of_images_and_its_number(spec: str, layer: str, attributes: dict[str, float]) -> None:
    made = Norm.parse(spec, "cnn").for_images(16, 4, 4)
    assert type(made) is getattr(layers, layer)
    assert {name: getattr(made, name) for name in attributes} == attributes
    assert made(torch.randn(4, 16, 4, 4)).shape == (4, 16, 4, 4)


@pytest.mark.parametrize(
    "spec", ["group:", "group:0", "group:-2", "group:x", "group:1.5", "ghost:", "ghost:0", "evonorm_s0:²"]
)
def test_a_wrong_number_is_explained(spec: str) -> None:
    name = spec.partition(":")[0]
    with pytest.raises(
        ArgumentError, match=f"mlp: the number behind {name} must count .*, at least 1, as in {name}:4"
    ):
        Norm.parse(spec, "mlp")


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.number is None])
def test_a_number_that_means_nothing_is_refused(name: str) -> None:
    with pytest.raises(ArgumentError, match=rf"mlp: {name} takes no number\. Got '{name}:2'"):
        Norm.parse(f"{name}:2", "mlp")


@pytest.mark.parametrize("spec", ["group:4", "decorrelated:4", "evonorm_s0:4"])
def test_groups_must_divide_the_channels(spec: str) -> None:
    with pytest.raises(ArgumentError, match=r"Got 10 and 4\. hint: use a divisor of 10 \(1, 2, 5, 10\)"):
        Norm.parse(spec, "cnn").for_images(10, 4, 4)


def test_every_row_of_the_table_builds_what_it_names() -> None:
    for name, kind in KINDS.items():
        norm = Norm.parse(name, "mlp")
        assert kind.fits_features or kind.fits_images
        for fits, named, make in (
            (kind.fits_features, kind.features, lambda n=norm: n.for_features(16)),
            (kind.fits_images, kind.images, lambda n=norm: n.for_images(16, 4, 4)),
        ):
            if fits:
                assert type(make()).__name__ == (named or "NoneType")
            else:
                with pytest.raises(ArgumentError, match=kind.title):
                    make()
        assert (is_parametrized(norm.wrap(nn.Linear(6, 4))) if kind.weights else True) is True
        assert isinstance(norm.activation("tanh"), nn.Identity if kind.is_activation else nn.Tanh)


def test_unknown_name_and_instance_without_positions_are_explained() -> None:
    with pytest.raises(UnknownNameError, match=r"mlp: unknown normalization 'bacth'\. Did you mean 'batch'"):
        Norm.parse("bacth", "mlp")
    with pytest.raises(ArgumentError, match="a fully connected layer of width 8, which has none"):
        Norm.parse("instance", "mlp").for_features(8)
    with pytest.raises(ArgumentError, match=r"at least 2 positions in a block\. Got an image of 1 × 1"):
        Norm.parse("instance", "cnn").for_images(8, 1, 1)
