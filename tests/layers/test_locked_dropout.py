"""Dropout with one mask for all time steps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from normwise.errors import ArgumentError
from normwise.layers import Dropout1d, LockedDropout
from normwise.testing import assert_close


@pytest.mark.parametrize(
    ("shape", "batch_first", "time"), [((7, 50, 40), False, 0), ((50, 7, 40), True, 1), ((7, 900), True, 0)]
)
def test_one_mask_for_all_time_steps(shape: tuple[int, ...], batch_first: bool, time: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape)
    output = LockedDropout(0.3, batch_first=batch_first)(x)
    gone = output == 0
    assert torch.equal(gone.all(dim=time), gone.any(dim=time))
    assert_close(output[~gone], x[~gone].double() / 0.7)
    # 900 features or more: a standard error of at most 0.0153.
    assert abs(gone.double().mean().item() - 0.3) < 0.061
    if len(shape) == 3:
        masks = gone.select(time, 0)
        assert not torch.equal(masks[0], masks[1])


def test_it_is_spatial_dropout_of_the_other_layout() -> None:
    torch.manual_seed(0)
    for output in (
        LockedDropout(0.5, batch_first=True)(torch.ones(40, 7, 50)),
        Dropout1d(0.5)(torch.ones(40, 50, 7)).transpose(1, 2),
    ):
        assert torch.equal(output, output[:, :1].expand_as(output))
        assert output.unique().tolist() == [0.0, 2.0]
        # 2,000 channels of 0 or 2: a standard error of 0.022.
        assert abs(output.mean().item() - 1.0) < 0.09


def test_the_ends_of_the_range_and_evaluation() -> None:
    x = torch.randn(4, 7, 5)
    assert LockedDropout(0.0)(x) is x
    assert LockedDropout(0.5).eval()(x) is x
    assert LockedDropout(1.0)(x).abs().max() == 0


def test_refusals_and_description() -> None:
    with pytest.raises(ArgumentError, match=r"must be \(L, N, C\) or \(L, C\). Got shape \(3,\)"):
        LockedDropout(0.5)(torch.ones(3))
    with pytest.raises(ArgumentError, match=r"must be \(N, L, C\)"):
        LockedDropout(0.5, batch_first=True)(torch.ones(3, 2, 2, 2))
    with pytest.raises(ArgumentError, match=r"LockedDropout: `p`"):
        LockedDropout(-0.5)
    assert repr(nn.Sequential(LockedDropout(0.1))[0]) == "LockedDropout(p=0.1, batch_first=False)"
