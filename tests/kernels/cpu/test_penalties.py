"""L1 and L2 penalties and proximal steps against float64."""

from __future__ import annotations

import math
from types import ModuleType
from typing import TypeAlias

import pytest
import torch
from torch import Tensor

from normwise.kernels.cpu import _portable

CODES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
COUNTS = (0, 1, 15, 16, 17, 63, 1000, 16384, 16385, 50001)
Sums: TypeAlias = tuple[float, float]
WEIGHTS = ((0.0, 0.0), (0.3, 0.0), (0.0, 0.2), (0.3, 0.2))


def values(count: int, dtype: torch.dtype) -> Tensor:
    x = torch.randn(count, generator=torch.Generator().manual_seed(count), dtype=torch.float64)
    x[::7] = 0
    x[3::11] = -0.0
    return x.to(dtype)


def penalised(
    x: Tensor, l1: float = 0.0, l2: float = 0.0, y: Tensor | None = None, together: int = 0
) -> Sums:
    """What the kernel adds up, and writes where there is a `y`."""
    to = 0 if y is None else y.data_ptr()
    sums: Sums = _portable.penalty(CODES.index(x.dtype), x.numel(), x.data_ptr(), to, l1, l2, together)
    return sums


@pytest.mark.parametrize("dtype", CODES)
def test_sums(raw: ModuleType, isa: str, dtype: torch.dtype) -> None:
    for count in COUNTS:
        x = values(count, dtype)
        sizes, squares = penalised(x)
        exact = x.double().abs().tolist()
        rounding = 4 * torch.finfo(torch.float64 if dtype is torch.float64 else torch.float32).eps
        assert math.isclose(sizes, math.fsum(exact), rel_tol=rounding)
        assert math.isclose(squares, math.fsum(v * v for v in exact), rel_tol=rounding)


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize(("l1", "l2"), WEIGHTS)
@pytest.mark.parametrize("past_caches", [False, True])
def test_gradient(
    raw: ModuleType, isa: str, dtype: torch.dtype, l1: float, l2: float, past_caches: bool
) -> None:
    for count in COUNTS:
        x = values(count, dtype)
        y, around = raw.guarded((count,), dtype, aligned=past_caches)
        with raw.written_past_caches():
            sums = penalised(x, l1, l2, y, together=y.nbytes)
        raw.check_guards(around)
        raw.assert_close(y, l1 * x.double().sign() + l2 * x.double(), what=f"gradient of {count}")
        assert sums == penalised(x)


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize(("l1", "l2"), WEIGHTS)
def test_proximal_step(raw: ModuleType, isa: str, dtype: torch.dtype, l1: float, l2: float) -> None:
    for count in COUNTS:
        x = values(count, dtype)
        y, around = raw.guarded((count,), dtype)
        y.copy_(x)
        _portable.proximal(raw.CODES[dtype], count, y.data_ptr(), l1, l2)
        raw.check_guards(around)
        want = x.double().sign() * (x.double().abs() - l1).clamp(min=0) / (1 + l2)
        raw.assert_close(y, want, what=f"step over {count}", scale=1.0)
        # float32 subtracts from the narrow dtypes.
        wide = x.to(torch.promote_types(dtype, torch.float32))
        assert torch.equal(y == 0, wide.abs() <= torch.tensor(l1, dtype=wide.dtype))


def test_odd_values(raw: ModuleType, isa: str) -> None:
    nan, inf = float("nan"), float("inf")
    x = torch.tensor([nan, inf, -inf, 1e-42, -1e-42, 0.0, -0.0, 3e38] * 5)
    y, stepped = torch.empty_like(x), x.clone()
    penalised(x, 0.5, 0.25, y)
    assert torch.equal(y.nan_to_num(nan=7.0), (0.5 * x.sign() + 0.25 * x).nan_to_num(nan=7.0))
    _portable.proximal(0, x.numel(), stepped.data_ptr(), 0.5, 0.25)
    want = x.sign() * (x.abs() - 0.5).clamp(min=0) / 1.25
    assert torch.equal(stepped.isnan(), x.isnan())
    raw.assert_close(stepped[~x.isnan()], want[~x.isnan()], what="step")
    finite = x[3:8].clone()
    assert penalised(finite[:1])[0] == finite[0].double().abs()
    for value in (nan, inf, -inf):
        two = torch.tensor([1.0, value])
        sums = penalised(two)
        assert all(not math.isfinite(total) for total in sums)
