"""What is looked at beside torch's operators: running statistics, zeros, tensors that a kernel can take."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from normwise import functional
from normwise.kernels.cpu import library
from normwise.kernels.cpu.call import DTYPES
from normwise.kernels.cpu.glance import has_zero, hold, settle
from normwise.kernels.cpu.portable import load

BAD = [float("nan"), float("inf"), -float("inf")]


class Strange(Tensor):
    """A tensor that may stand for something else."""


def statistics(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(37, dtype=dtype), torch.rand(37, dtype=dtype), torch.tensor(4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_statistics_stay_and_the_batch_is_counted(dtype: torch.dtype) -> None:
    mean, var, batches = statistics(dtype)
    held = hold(mean, var, batches)
    mean.add_(1)
    moved, version = mean.clone(), batches._version
    assert settle(held, batches)
    assert torch.equal(mean, moved)
    assert batches.item() == 5
    assert batches._version > version


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("place", [(0, 0), (0, 36), (1, 17)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_statistics_that_are_not_finite_become_what_they_were(
    dtype: torch.dtype, place: tuple[int, int], bad: float
) -> None:
    *running, batches = statistics(dtype)
    before = [values.clone() for values in running]
    held = hold(*running, batches)
    for values in running:
        values.mul_(3)
    which, channel = place
    running[which][channel] = bad
    assert not settle(held, batches)
    assert all(torch.equal(now, then) for now, then in zip(running, before, strict=True))
    assert batches.item() == 4


def test_a_counter_may_be_missing() -> None:
    mean, var, _ = statistics()
    assert settle(hold(mean, var, None), None)


def _odd() -> Iterator[tuple[str, tuple[Any, ...]]]:
    mean, var, batches = statistics()
    yield "16 bits", (mean.bfloat16(), var.bfloat16(), batches)
    yield "two dtypes", (mean, var.double(), batches)
    yield "two sizes", (mean, var[1:], batches)
    yield "gaps", (torch.randn(74)[::2], var, batches)
    yield "no channels", (mean[:0], var[:0], batches)
    yield "a class of its own", (mean.as_subclass(Strange), var, batches)
    yield "no memory", (mean.to("meta"), var, batches)
    yield "sparse", (mean.to_sparse(), var, batches)
    yield "a narrow counter", (mean, var, batches.int())
    yield "a counter of two", (mean, var, torch.tensor([1, 2]))
    yield "no tensor", (mean, 3.0, batches)


ODD = dict(_odd())


@pytest.mark.parametrize("what", ODD)
def test_what_does_not_fit_is_not_held(what: str) -> None:
    assert hold(*ODD[what]) is None


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("kernels", [True, False], ids=["with kernels", "without"])
def test_a_batch_that_is_not_finite_moves_nothing(
    kernels: bool, bad: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kernels:
        module = importlib.import_module("normwise.kernels.aten.batch_norm")
        monkeypatch.setattr(module, "hold", lambda *_: None)
    mean, var, batches = torch.randn(5), torch.rand(5), torch.tensor(0)
    skipped = torch.tensor(0)
    before = mean.clone(), var.clone()
    x = torch.randn(8, 5)
    x[3, 2] = bad
    named: dict[str, Any] = {
        "num_batches_tracked": batches,
        "num_batches_skipped": skipped,
        "backend": "aten",
    }
    output = functional.batch_norm(x, mean, var, training=True, **named)
    assert output[:, 2].isnan().all()
    assert torch.equal(mean, before[0])
    assert torch.equal(var, before[1])
    assert (batches.item(), skipped.item()) == (0, 1)
    functional.batch_norm(x[4:], mean, var, training=True, **named)
    assert not torch.equal(mean, before[0])
    assert (batches.item(), skipped.item()) == (1, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("place", [None, 0, 5, 11])
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_zeros_are_found(zero: float, place: int | None, dtype: torch.dtype) -> None:
    values = torch.full((12,), float("nan"), dtype=dtype)
    if place is not None:
        values[place] = zero
    assert has_zero(values) == (place is not None)
    assert has_zero(values.reshape(3, 4).t()) == (place is not None)


def _fits(x: torch.dtype = torch.float32, **given: Any) -> bool:
    names = ("weight", "bias", "running_mean", "running_var", "batches", "skipped")
    fits: bool = library.portable().fit(DTYPES[x], 6, *(given.get(name) for name in names))
    return fits


@pytest.mark.parametrize(
    ("x", "weight", "fits"),
    [
        (torch.float32, torch.ones(6), True),
        (torch.float32, nn.Parameter(torch.ones(2, 3)), True),
        (torch.float32, torch.ones(6, dtype=torch.float64), False),
        (torch.float64, torch.ones(6, dtype=torch.float64), True),
        (torch.float64, torch.ones(6), False),
        (torch.bfloat16, torch.ones(6, dtype=torch.bfloat16), True),
        (torch.bfloat16, torch.ones(6), True),
        (torch.bfloat16, torch.ones(6, dtype=torch.float16), False),
        (torch.float16, torch.ones(6, dtype=torch.float16), True),
        (torch.float16, torch.ones(6, dtype=torch.bfloat16), False),
        (torch.float32, torch.ones(6, dtype=torch.int32), False),
        (torch.float32, torch.ones(7), False),
        (torch.float32, torch.ones(()), False),
        (torch.float32, torch.ones(1).expand(6), False),
        (torch.float32, torch.ones(12)[::2], False),
        (torch.float32, torch.ones(3, 2).t(), False),
        (torch.float32, torch.ones(6).as_subclass(Strange), False),
        (torch.float32, torch.ones(6, device="meta"), False),
        (torch.float32, torch.ones(6).to_sparse(), False),
    ],
)
def test_which_tensors_a_kernel_can_take(x: torch.dtype, weight: Tensor, fits: bool) -> None:
    for name in ("weight", "bias", "running_mean", "running_var"):
        assert _fits(x, **{name: weight}) == fits, name


def test_tensors_of_one_kind_have_one_dtype() -> None:
    wide, narrow = torch.ones(6), torch.ones(6, dtype=torch.bfloat16)
    assert _fits(torch.bfloat16, weight=narrow, bias=narrow, running_mean=wide, running_var=wide)
    assert not _fits(torch.bfloat16, weight=narrow, bias=wide)


@pytest.mark.parametrize("name", ["batches", "skipped"])
def test_counters_are_single_integers(name: str) -> None:
    assert _fits(**{name: torch.tensor(3)})
    assert _fits(**{name: torch.tensor([[3]])})
    for other in (torch.tensor([3, 4]), torch.tensor(3, dtype=torch.int32), torch.tensor(3.0)):
        assert not _fits(**{name: other})


def test_without_torchs_table_there_are_no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoTable:
        """As the class of a torch that publishes none."""

    kernels = library.portable()
    with monkeypatch.context() as changed:
        changed.setattr(torch, "Tensor", NoTable)
        found, reason = load.__wrapped__()
    try:
        assert found is None
        assert reason is not None
        assert "table" in reason
        assert not _fits(weight=torch.ones(6))
        assert hold(*statistics()) is None
        assert has_zero(torch.zeros(2))
    finally:
        kernels.learn(Tensor, nn.Parameter)
    assert hold(*statistics()) is not None
