"""Normalizations by name: which layer, how many groups, and messages."""

from __future__ import annotations

import pytest

from normwise import layers
from normwise.errors import ArgumentError, UnknownNameError
from normwise.models.norm import Norm


@pytest.mark.parametrize(
    ("spec", "features", "images"),
    [
        ("none", None, None),
        ("weight", None, None),
        ("batch", layers.BatchNorm1d, layers.BatchNorm2d),
        ("layer", layers.LayerNorm, layers.LayerNorm2d),
        ("rms", layers.RMSNorm, layers.RMSNorm2d),
        ("group", layers.GroupNorm, layers.GroupNorm),
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


@pytest.mark.parametrize("spec", ["group:", "group:0", "group:-2", "group:x", "group:1.5", "batch:2"])
def test_wrong_number_of_groups_is_explained(spec: str) -> None:
    with pytest.raises(ArgumentError, match="a number after the colon is the number of groups"):
        Norm.parse(spec, "mlp")


def test_unknown_name_and_instance_without_positions_are_explained() -> None:
    with pytest.raises(UnknownNameError, match=r"mlp: unknown normalization 'bacth'\. Did you mean 'batch'"):
        Norm.parse("bacth", "mlp")
    with pytest.raises(ArgumentError, match="a fully connected layer of width 8, which has none"):
        Norm.parse("instance", "mlp").for_features(8)
    with pytest.raises(ArgumentError, match=r"at least 2 positions in a block\. Got an image of 1 × 1"):
        Norm.parse("instance", "cnn").for_images(8, 1, 1)
