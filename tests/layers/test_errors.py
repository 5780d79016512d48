"""What a layer refuses: torch's types of error and torch's words, with a remedy."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from normwise import layers
from normwise.errors import ArgumentError

X = torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("family", ["BatchNorm", "InstanceNorm"])
@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 6])
def test_ranks_are_torchs(family: str, rank: int, dim: int) -> None:
    x = torch.ones(*(2 for _ in range(dim)))
    theirs = getattr(nn, f"{family}{rank}d")(2)
    refused: type[Exception] | None = None
    try:
        theirs(x)
    except ValueError as error:
        refused = type(error)
    for name in (f"{family}{rank}d", f"{family}Act{rank}d"):
        layer = getattr(layers, name)(2)
        if refused is None:
            assert layer(x).shape == x.shape
        else:
            with pytest.raises(ValueError, match="expected"):
                layer(x)


@pytest.mark.parametrize("kind", ["LayerNorm", "RMSNorm"])
@pytest.mark.parametrize(("rank", "dims"), [(1, (2, 3)), (2, (4,)), (3, (5,))])
def test_ranks_over_channels(kind: str, rank: int, dims: tuple[int, ...]) -> None:
    for name in (f"{kind}{rank}d", f"{kind}Act{rank}d"):
        layer = getattr(layers, name)(2)
        for dim in range(1, 7):
            x = torch.ones(*(2 for _ in range(dim)))
            if dim in dims:
                assert layer(x).shape == x.shape
            else:
                with pytest.raises(ArgumentError, match=f"{name}: expected"):
                    layer(x)


@pytest.mark.parametrize("kind", ["LayerNorm1d", "RMSNorm1d", "LayerNormAct1d", "RMSNormAct1d"])
@pytest.mark.parametrize("affine", [True, False])
def test_channels_that_do_not_fit(kind: str, affine: bool) -> None:
    layer = getattr(layers, kind)(5, elementwise_affine=affine)
    with pytest.raises(ArgumentError, match=r"5 channels.*\(4, 6, 5\).*hint: channels come first"):
        layer(X)


@pytest.mark.parametrize("name", ["BatchNorm1d", "BatchNormAct1d"])
def test_a_batch_of_one(name: str) -> None:
    layer = getattr(layers, name)(6)
    with pytest.raises(
        ValueError, match=r"Expected more than 1 value per channel when training.*hint:.*GroupNorm"
    ):
        layer(X[:1, :, 0])
    assert layer(X[:1]).shape == (1, 6, 5)
    assert layer.eval()(X[:1, :, 0]).shape == (1, 6)


@pytest.mark.parametrize("name", ["InstanceNorm1d", "InstanceNormAct1d"])
def test_a_single_position(name: str) -> None:
    with pytest.raises(ValueError, match="Expected more than 1 spatial element when training"):
        getattr(layers, name)(6)(X[:, :, :1])


@pytest.mark.parametrize("name", ["GroupNorm", "GroupNormAct"])
def test_groups_that_do_not_divide(name: str) -> None:
    with pytest.raises(ValueError, match=r"Got 10 and 4\. hint: use a divisor of 10 \(1, 2, 5, 10\)"):
        getattr(layers, name)(4, 10)
    with pytest.raises(ValueError, match="Got 10 and 0"):
        getattr(layers, name)(0, 10)


@pytest.mark.parametrize(
    "make",
    [
        lambda module: module.BatchNorm1d(5),
        lambda module: module.GroupNorm(5, 5),
        lambda module: module.LayerNorm(6),
        lambda module: module.RMSNorm(6),
        lambda module: module.InstanceNorm1d(5, affine=True),
    ],
)
def test_another_size_raises_the_type_that_torch_raises(make: Callable[[object], nn.Module]) -> None:
    with pytest.raises((ValueError, RuntimeError)) as theirs:
        make(nn)(X)
    with pytest.raises(theirs.type):
        make(layers)(X)


def test_instance_norm_without_parameters_warns_as_torch_does() -> None:
    for make in (layers.InstanceNorm1d, nn.InstanceNorm1d):
        with pytest.warns(UserWarning, match="does not match num_features"):
            make(5)(X)


@pytest.mark.parametrize("name", ["Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout"])
def test_a_rate_that_is_no_probability(name: str) -> None:
    for rate in (-0.1, 1.5):
        with pytest.raises(ValueError, match="dropout probability has to be between 0 and 1"):
            getattr(layers, name)(rate)
