"""Inputs of a shape that an operation cannot take."""

from __future__ import annotations

import pytest
import torch

from normwise import functional
from normwise.errors import ArgumentError


def test_group_norm() -> None:
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
        functional.group_norm(torch.ones(1, 4), 4)
    assert functional.group_norm(torch.ones(2, 4), 4).shape == (2, 4)  # as in torch
    with pytest.raises(RuntimeError):
        functional.group_norm(torch.ones(2, 5), 2)
    with pytest.raises(RuntimeError, match="at least 2 dimensions"):
        functional.group_norm(torch.ones(4), 2)
    assert functional.group_norm(torch.ones(0, 4, 3), 2).shape == (0, 4, 3)


def test_instance_norm() -> None:
    with pytest.raises(ValueError, match="Expected more than 1 spatial element when training"):
        functional.instance_norm(torch.ones(2, 4, 1, 1))
    with pytest.raises(ArgumentError, match="running_mean"):
        functional.instance_norm(torch.ones(2, 4, 3), use_input_stats=False)
    assert functional.instance_norm(torch.ones(0, 4, 3)).shape == (0, 4, 3)


def test_layer_norm() -> None:
    with pytest.raises(RuntimeError):
        functional.layer_norm(torch.ones(2, 4), (3,))
    with pytest.raises(RuntimeError):
        functional.rms_norm(torch.ones(2, 4), (3,))


@pytest.mark.parametrize(
    "operation", [functional.layer_norm_over_channels, functional.rms_norm_over_channels]
)
def test_over_channels(operation: object) -> None:
    assert callable(operation)
    with pytest.raises(ArgumentError, match=r"\(N, C, \*\)"):
        operation(torch.ones(4))
    # A weight of one element would broadcast in silence.
    with pytest.raises(ArgumentError, match="channels"):
        operation(torch.ones(2, 4, 3), torch.ones(1))
    with pytest.raises(ArgumentError, match=r"channels.*\(2, 3, 3, 4\)"):
        operation(torch.ones(2, 3, 3, 4), torch.ones(4))
    assert operation(torch.ones(0, 4, 3), torch.ones(4)).shape == (0, 4, 3)
