"""Where a kernel may look at values, and which way weight normalization goes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode

from normwise.kernels import aten
from normwise.kernels.gate import is_plain_cpu
from normwise.testing import assert_close


class Subclass(Tensor):
    pass


class Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        return func(*args, **(kwargs or {}))


def test_open() -> None:
    assert is_plain_cpu(torch.ones(2), nn.Parameter(torch.ones(2)))


def test_shut_for_other_tensors() -> None:
    assert not is_plain_cpu(torch.ones(2), torch.ones(2, device="meta"))
    assert not is_plain_cpu(torch.ones(2).as_subclass(Subclass))


# At its first forward-mode derivative torch calls a function that it deprecates.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_shut_under_transforms() -> None:
    seen: list[bool] = []

    def look(x: Tensor) -> Tensor:
        seen.append(is_plain_cpu(x))
        return x * 2

    torch.func.vmap(look)(torch.ones(3, 2))
    torch.func.jvp(look, (torch.ones(2),), (torch.ones(2),))
    with forward_ad.dual_level():
        look(torch.ones(2))
    with Mode():
        look(torch.ones(2))
    assert seen == [False] * 4


def test_shut_while_compiling() -> None:
    torch.compiler.reset()
    compiled = torch.compile(lambda x: x * (2.0 if is_plain_cpu(x) else 3.0), backend="eager", fullgraph=True)
    assert compiled(torch.ones(1)).item() == 3.0


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the calls of torch's fused operator."""
    calls: list[int] = []
    original: Callable[..., tuple[Tensor, Tensor]] = torch._weight_norm_interface

    def counting(v: Tensor, g: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        calls.append(dim)
        return original(v, g, dim)

    monkeypatch.setattr(torch, "_weight_norm_interface", counting)
    return calls


@pytest.mark.parametrize(
    ("shape", "axes", "dtype", "runs"),
    [
        ((4, 3), (1,), torch.float32, 1),
        ((4, 3, 2, 2), (1, 2, 3), torch.float64, 1),
        ((4, 3), (0,), torch.float32, 0),
        ((4, 3), (0, 1), torch.float32, 0),
        ((2, 4, 3, 2), (1, 3), torch.float32, 0),
        ((4, 3), (1,), torch.bfloat16, 0),
    ],
)
def test_which_way_weight_norm_goes(
    fused: list[int], shape: tuple[int, ...], axes: tuple[int, ...], dtype: torch.dtype, runs: int
) -> None:
    torch.manual_seed(0)
    direction = torch.randn(shape).to(dtype)
    gain = torch.rand(tuple(1 if a in axes else size for a, size in enumerate(shape))).to(dtype) + 0.5
    weight = aten.weight_norm(gain, direction, axes)
    assert len(fused) == runs
    norm = direction.double().square().sum(axes, keepdim=True).sqrt()
    assert_close(weight, gain.double() * direction.double() / norm)


def test_the_fused_way_has_right_second_derivatives(fused: list[int]) -> None:
    torch.manual_seed(0)
    direction = torch.randn(4, 3, dtype=torch.float64)
    direction[1] = 0.0
    inputs = (
        (torch.rand(4, 1, dtype=torch.float64) + 0.5).requires_grad_(),
        direction[[0, 2, 3]].requires_grad_(),
    )
    gain, rows = inputs[0].detach()[[0, 2, 3]].requires_grad_(), inputs[1]
    assert torch.autograd.gradgradcheck(
        lambda g, v: aten.weight_norm(g, v, (1,)), (gain, rows.detach().requires_grad_())
    )
    assert fused
