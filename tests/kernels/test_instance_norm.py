"""Instance normalization on group normalization: layouts, and statistics that group normalization does not give."""

from __future__ import annotations

import pytest
import torch

from normwise.kernels import aten
from normwise.testing import assert_close


@pytest.mark.parametrize(
    ("shape", "memory_format"),
    [((2, 3, 4, 5), torch.channels_last), ((2, 3, 2, 4, 5), torch.channels_last_3d)],
)
def test_layout(shape: tuple[int, ...], memory_format: torch.memory_format) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape).contiguous(memory_format=memory_format).requires_grad_()
    output = aten.instance_norm(x, None, None, None, None, True, 0.1, 1e-5)
    assert output.is_contiguous(memory_format=memory_format)
    expected = torch.instance_norm(x, None, None, None, None, True, 0.1, 1e-5, False)
    assert_close(output, expected)
    cotangent = torch.randn(shape).contiguous(memory_format=memory_format)
    mine, theirs = (torch.autograd.grad(y, x, cotangent)[0] for y in (output, expected))
    assert_close(mine, theirs, what="gradient")


def test_a_variance_far_below_eps_is_tracked_exactly() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 2, 50) * 1e-5
    mean, var = torch.zeros(2), torch.zeros(2)
    aten.instance_norm(x, mean, var, None, None, True, 1.0, 1e-5)
    expected = x.double().var(2, correction=1).mean(0)
    assert ((var.double() - expected).abs() / expected).max() < 1e-5
