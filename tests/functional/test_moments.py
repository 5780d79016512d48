"""Moments of channels: against float64, merged, weighted, by either back end."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from normwise import functional
from normwise.errors import ArgumentError
from normwise.functional import Moments, moments
from normwise.kernels.registry import recorded
from normwise.testing import assert_close


def values(*shape: int, mean: float = 0.0, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(shape, generator=generator, dtype=torch.float64) + mean).to(dtype)


@pytest.mark.parametrize(("backend", "ran"), [("cpu", "portable"), ("aten", "aten")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(7, 3), (1, 5), (4, 3, 9), (3, 20, 5, 7), (2, 3, 2, 3, 5)])
def test_of_every_shape(shape: tuple[int, ...], dtype: torch.dtype, backend: str, ran: str) -> None:
    x = values(*shape, mean=100.0, dtype=dtype)
    axes = (0, *range(2, x.dim()))
    for given in (x, x.movedim(1, -1).contiguous().movedim(-1, 1)):
        with recorded() as choices:
            found = moments(given, backend=backend)
        assert [choice.backend for choice in choices] == [ran]
        assert found.count == x.numel() / shape[1]
        assert_close(found.mean, x.double().mean(axes), what="mean", factor=1e6)  # of float64's ulps
        centred = (x.double() - x.double().mean(axes, keepdim=True)).square().sum(axes)
        assert_close(found.squares.float(), centred, what="squares", scale=1.0)


@pytest.mark.parametrize("backend", ["cpu", "aten"])
def test_parts_merge_into_the_whole(backend: str) -> None:
    x = values(30, 4, 5, mean=1e4)
    whole, left, right = (moments(part, backend=backend) for part in (x, x[:11], x[11:]))
    merged = left.merged(right)
    assert merged.count == whole.count
    assert_close(merged.mean.float(), whole.mean, what="mean")
    assert_close(merged.squares.float(), whole.squares, what="squares")
    nothing = Moments(torch.zeros((), dtype=torch.float64), *torch.zeros(2, 4, dtype=torch.float64))
    for same in (whole.merged(nothing), nothing.merged(whole)):
        assert torch.equal(same.mean, whole.mean)
        assert torch.equal(same.squares, whole.squares)


@pytest.mark.parametrize("backend", ["cpu", "aten"])
def test_weights_leave_padding_out(backend: str) -> None:
    x = values(6, 3, 8)
    real = torch.ones(6, 8)
    real[:, 5:] = 0
    x[:, :, 5:] = float("nan")
    padded = moments(x, real, backend=backend)
    plain = moments(x[:, :, :5], backend=backend)
    assert padded.count == plain.count == 30
    assert_close(padded.mean.float(), plain.mean, what="mean", scale=1.0)
    assert_close(padded.squares.float(), plain.squares, what="squares")
    per_sample = moments(x[:, :, :5], torch.tensor([1.0, 0, 0, 0, 0, 2.0]), backend=backend)
    twice = moments(x[[0, 5, 5], :, :5], backend=backend)
    assert_close(per_sample.squares.float(), twice.squares, what="weights as counts")


def test_what_is_refused() -> None:
    with pytest.raises(ArgumentError, match="moments: the input must have the axes"):
        functional.moments(torch.ones(3))
    with pytest.raises(
        ArgumentError, match=r"`sample_weight` must be \(N, \*\), here \(4, 5\).*shape \(5,\)"
    ):
        functional.moments(torch.ones(4, 3, 5), torch.ones(5))
