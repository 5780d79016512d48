"""Running statistics in torch's operators: all of a batch's or none, without a trace in the gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from normwise.kernels.aten import track
from normwise.testing import assert_close


def state(count: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return torch.zeros(count), torch.ones(count), torch.tensor(0), torch.tensor(0)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_one_value_that_is_not_finite_keeps_all(which: int, value: float) -> None:
    mean, var, batches, skipped = state()
    batch = [torch.full((3,), 2.0), torch.full((3,), 5.0)]
    batch[which][1] = value
    track((mean, var), (batch[0], batch[1]), 0.5, batches, skipped)
    assert mean.tolist() == [0.0] * 3
    assert var.tolist() == [1.0] * 3
    assert (int(batches), int(skipped)) == (0, 1)


def test_infinities_of_both_signs_do_not_cancel() -> None:
    mean, var, batches, skipped = state(2)
    track((mean, var), (torch.tensor([torch.inf, -torch.inf]), torch.ones(2)), 0.5, batches, skipped)
    assert mean.tolist() == [0.0, 0.0]
    assert (int(batches), int(skipped)) == (0, 1)


@pytest.mark.parametrize("value", [3e38, 1e-45, -3e38])
def test_values_at_the_ends_of_the_range_are_finite(value: float) -> None:
    mean, var, batches, skipped = state(2)
    given = torch.tensor([value, value])
    track((mean, var), (given, given.abs()), 1.0, batches, skipped)
    assert torch.equal(mean, given)
    assert torch.equal(var, given.abs())
    assert (int(batches), int(skipped)) == (1, 0)


def test_stacked_models_are_kept_one_by_one() -> None:
    mean, batches, skipped = torch.zeros(2, 3), torch.tensor(0), torch.tensor(0)
    given = torch.ones(2, 3)
    given[0, 2] = torch.nan
    track((mean,), (given,), 0.5, batches, skipped, stacked=True)
    assert mean.tolist() == [[0.0] * 3, [0.5] * 3]
    assert (int(batches), int(skipped)) == (1, 0)  # common counters: one of the models took its batch in


def test_no_momentum_counts_all_batches_alike() -> None:
    mean, _, batches, _ = state(1)
    for value in (3.0, 5.0, 10.0):
        track((mean,), (torch.tensor([value]),), None, batches)
    assert_close(mean, torch.tensor([6.0]))


def test_a_tensor_of_another_dtype_is_a_momentum() -> None:
    mean = torch.zeros(2)
    momentum = torch.tensor(0.25, dtype=torch.float64, requires_grad=True)
    track((mean,), (torch.tensor([4.0, 8.0]),), momentum)
    assert mean.tolist() == [1.0, 2.0]
    assert not mean.requires_grad


@pytest.mark.filterwarnings(
    "ignore:.torch.jit:DeprecationWarning"
)  # forward-mode AD itself calls what torch deprecates
def test_neither_gradients_nor_tangents_go_into_running_statistics() -> None:
    mean, batch = torch.zeros(2), torch.ones(2, requires_grad=True)
    track((mean,), (batch * 2.0,), 0.5)
    assert not mean.requires_grad
    with forward_ad.dual_level():
        track((mean,), (forward_ad.make_dual(torch.ones(2), torch.ones(2)),), 0.5)
        assert forward_ad.unpack_dual(mean).tangent is None
    assert mean.tolist() == [1.0, 1.0]
