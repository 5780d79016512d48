"""The comparison that all other tests lean on: each way in which it must fail."""

from __future__ import annotations

import pytest
import torch

from normwise.testing import ULPS, assert_close, assert_no_worse

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("dtype", ULPS)
def test_inside_and_outside_of_the_table(dtype: torch.dtype) -> None:
    allowed = ULPS[dtype] * torch.finfo(dtype).eps
    expected = torch.tensor([1.0, -0.25], dtype=torch.float64)
    assert_close((expected + 0.4 * allowed).to(dtype), expected.to(dtype).double())
    with pytest.raises(AssertionError, match="output: off by"):
        assert_close((expected + 2.0 * allowed).to(dtype), expected, what="output")


def test_the_tolerance_grows_with_the_largest_magnitude() -> None:
    expected = torch.tensor([1000.0, 1.0])
    assert_close(expected + torch.tensor([0.0, 5e-3]), expected)
    with pytest.raises(AssertionError):
        assert_close(expected + torch.tensor([0.0, 1e-2]), expected)


def test_a_factor_widens() -> None:
    expected = torch.ones(2)
    with pytest.raises(AssertionError):
        assert_close(expected + 1e-4, expected)
    assert_close(expected + 1e-4, expected, factor=20.0)


def test_another_shape_fails() -> None:
    with pytest.raises(AssertionError, match=r"shape \(1,\), expected \(\)"):
        assert_close(torch.ones(1), torch.tensor(1.0))


@pytest.mark.parametrize(
    ("actual", "expected"),
    [(NAN, 1.0), (1.0, NAN), (INF, 1.0), (1.0, INF), (INF, -INF), (NAN, INF), (INF, NAN)],
)
def test_values_that_are_not_finite_fail_elsewhere(actual: float, expected: float) -> None:
    with pytest.raises(AssertionError, match="not finite"):
        assert_close(torch.tensor([actual, 0.0]), torch.tensor([expected, 0.0]))


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_values_that_are_not_finite_agree_with_themselves(value: float) -> None:
    both = torch.tensor([value, 2.0])
    assert_close(both, both.double())
    with pytest.raises(AssertionError, match="off by"):
        assert_close(torch.tensor([value, 2.1]), both)


def test_integers_are_compared_exactly() -> None:
    assert_close(torch.tensor(3), torch.tensor(3))
    with pytest.raises(AssertionError):
        assert_close(torch.tensor(3), torch.tensor(4))


def test_nothing_agrees_with_nothing() -> None:
    assert_close(torch.empty(0, 3), torch.empty(0, 3))


def test_no_worse_than_a_rival() -> None:
    exact, near, far = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.1]), torch.tensor([1.0, 2.2])
    assert_no_worse(exact, far, exact)
    assert_no_worse(near, far, exact)
    assert_no_worse(far, near, exact, times=2.1)
    with pytest.raises(AssertionError, match="values: off by"):
        assert_no_worse(far, near, exact)
    with pytest.raises(AssertionError, match="not finite"):
        assert_no_worse(torch.tensor([1.0, float("nan")]), far, exact)
    with pytest.raises(AssertionError, match="shape"):
        assert_no_worse(near[:1], far[:1], exact)
