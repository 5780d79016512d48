"""Which elements share a statistic, against sets written out by hand."""

from __future__ import annotations

import pytest
import torch

from normwise.errors import ArgumentError
from normwise.geometry import Geometry, divisors

SHAPE = (2, 6, 3, 5)


@pytest.mark.parametrize(
    ("geometry", "count", "statistics", "channels"),
    [
        (Geometry.batch(SHAPE), 2 * 3 * 5, 6, 6),
        (Geometry.batch((2, 6)), 2, 6, 6),
        (Geometry.group(SHAPE, 2), 3 * 3 * 5, 2 * 2, 6),
        (Geometry.group(SHAPE, 1), 6 * 3 * 5, 2, 6),
        (Geometry.instance(SHAPE), 3 * 5, 2 * 6, 6),
        (Geometry.layer(SHAPE, (5,)), 5, 2 * 6 * 3, 5),
        (Geometry.layer(SHAPE, (3, 5)), 15, 2 * 6, 15),
        (Geometry.layer(SHAPE, SHAPE), 2 * 6 * 3 * 5, 1, 2 * 6 * 3 * 5),
        (Geometry.layer_over_channels(SHAPE), 6, 2 * 3 * 5, 6),
        (Geometry.rms(SHAPE, (5,)), 5, 2 * 6 * 3, 5),
    ],
)
def test_how_many_share(geometry: Geometry, count: int, statistics: int, channels: int) -> None:
    assert geometry.count == count
    assert geometry.statistics_shape[0] * geometry.statistics_shape[1] == statistics
    assert geometry.channels == channels
    assert geometry.count * statistics == 2 * 6 * 3 * 5 or geometry.shape == (2, 6)


def test_the_view_puts_those_that_share_together() -> None:
    x = torch.arange(2 * 6 * 3 * 5).reshape(SHAPE)
    assert torch.equal(Geometry.batch(SHAPE).view(x)[:, 4].flatten(), x[:, 4].flatten())
    assert torch.equal(Geometry.layer_over_channels(SHAPE).view(x)[1 * 15 + 2 * 5 + 3, :, 0], x[1, :, 2, 3])
    assert torch.equal(Geometry.layer(SHAPE, (5,)).view(x)[(1 * 6 + 4) * 3 + 2, :, 0], x[1, 4, 2])


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry.batch(SHAPE),
        Geometry.group(SHAPE, 3),
        Geometry.instance(SHAPE),
        Geometry.layer(SHAPE, (3, 5)),
        Geometry.layer_over_channels(SHAPE),
        Geometry.rms(SHAPE, (5,)),
    ],
)
def test_restore_undoes_view(geometry: Geometry) -> None:
    x = torch.randn(SHAPE)
    assert torch.equal(geometry.restore(geometry.view(x)), x)


def test_only_rms_is_not_centred() -> None:
    assert not Geometry.rms(SHAPE, (5,)).centred
    assert not Geometry.layer_over_channels(SHAPE, centred=False).centred
    assert Geometry.layer(SHAPE, (5,)).centred
    assert Geometry.batch(SHAPE).centred


def test_channels_that_do_not_divide() -> None:
    with pytest.raises(ArgumentError, match=r"must be divisible by.*Got 10 and 4.*\(1, 2, 5, 10\)"):
        Geometry.group((2, 10), 4)
    with pytest.raises(ArgumentError, match="Got 10 and 0"):
        Geometry.group((2, 10), 0)


def test_a_shape_that_does_not_end_as_promised() -> None:
    with pytest.raises(
        ArgumentError, match=r"LayerNorm: the input's shape must end in \[4\].*\[2, 6, 3, 5\]"
    ):
        Geometry.layer(SHAPE, (4,))
    with pytest.raises(ArgumentError, match="RMSNorm"):
        Geometry.rms(SHAPE, (4,))
    with pytest.raises(ArgumentError, match="must end in"):
        Geometry.layer(SHAPE, ())


@pytest.mark.parametrize("make", [Geometry.batch, Geometry.instance, Geometry.layer_over_channels])
def test_an_input_without_channels(make: object) -> None:
    with pytest.raises(ArgumentError, match=r"must have the axes \(N, C, \*\)"):
        make((3,))  # type: ignore[operator]


def test_a_geometry_is_a_value() -> None:
    assert Geometry.batch(SHAPE) == Geometry.batch(SHAPE)
    assert hash(Geometry.batch(SHAPE)) == hash(Geometry.batch(SHAPE))
    with pytest.raises(AttributeError):
        Geometry.batch(SHAPE).groups = 2  # type: ignore[misc]


def test_divisors() -> None:
    assert divisors(1) == [1]
    assert divisors(28) == [1, 2, 4, 7, 14, 28]
