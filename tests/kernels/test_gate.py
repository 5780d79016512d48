"""Where a kernel may look at values, and which way weight normalization goes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode

from normwise import functional
from normwise.kernels import aten
from normwise.kernels.gate import is_plain_cpu, stands_for_itself, why_shut
from normwise.kernels.registry import recorded, use_backend
from normwise.testing import assert_close


class Subclass(Tensor):
    pass


class Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        return func(*args, **(kwargs or {}))


def test_open() -> None:
    assert is_plain_cpu(torch.ones(2), nn.Parameter(torch.ones(2)))
    assert why_shut(torch.ones(2), nn.Parameter(torch.ones(2))) is None
    with torch.no_grad():
        assert is_plain_cpu(torch.ones(2))
    with torch.inference_mode():
        assert is_plain_cpu(torch.ones(2))
    with torch.autocast("cpu"):
        assert is_plain_cpu(torch.ones(2))
    assert is_plain_cpu(nn.Buffer(torch.ones(2)))


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


# At its first forward-mode derivative torch calls a function that it deprecates.
@pytest.mark.filterwarnings("ignore:`torch.jit.*is deprecated:DeprecationWarning")
def test_the_reason_is_said_where_it_is_shut_and_only_there() -> None:
    reasons: list[str | None] = []

    def look(x: Tensor) -> Tensor:
        reason = why_shut(x)
        assert (reason is None) == is_plain_cpu(x)
        reasons.append(reason)
        return x * 2

    look(torch.ones(2, device="meta"))
    look(torch.ones(2).as_subclass(Subclass))
    torch.func.vmap(look)(torch.ones(3, 2))
    torch.func.grad(lambda x: look(x).sum())(torch.ones(2))
    torch.func.functionalize(look)(torch.ones(2))
    with forward_ad.dual_level():
        look(torch.ones(2))
    with Mode():
        look(torch.ones(2))
    torch.jit.trace(look, torch.ones(2), check_trace=False)
    assert reasons == [
        "a tensor is on meta",
        "a tensor is a Subclass",
        *["a transform of torch.func is active"] * 3,
        "forward-mode differentiation is active",
        "a dispatch mode sees every operator (fake tensors, tracing, counting)",
        "torch.jit traces the program",
    ]


def test_after_a_transform_that_failed_it_is_open_again() -> None:
    def fails(x: Tensor) -> Tensor:
        raise KeyError

    with pytest.raises(KeyError):
        torch.func.vmap(fails)(torch.ones(3, 2))
    assert is_plain_cpu(torch.ones(2))


def test_a_tensor_that_escaped_from_a_transform_is_left_to_torch() -> None:
    """It looks like any other, and has no memory."""
    escaped: list[Tensor] = []

    def leak(x: Tensor) -> Tensor:
        escaped.append(x * 2)
        return escaped[0].sum()

    x = torch.randn(3, 6)
    torch.func.grad(leak)(x)
    wrapped = (escaped[0], torch._to_functional_tensor(2 * x))
    for tensor in wrapped:
        assert type(tensor) is Tensor
        assert not stands_for_itself(tensor)
        with use_backend("auto"), recorded() as choices:
            output = functional.layer_norm(tensor, (6,))
        assert [choice.backend for choice in choices] == ["aten"]
        assert output.shape == x.shape
    with use_backend("auto"):
        assert_close(functional.layer_norm(escaped[0], (6,)) * 1, nn.functional.layer_norm(2 * x, (6,)))


def test_what_stands_for_other_values() -> None:
    negated = torch.ones(2, dtype=torch.cfloat).conj().imag
    assert not stands_for_itself(negated)
    assert stands_for_itself(negated.resolve_neg())
    assert not stands_for_itself(torch.eye(2).to_sparse())
    assert not stands_for_itself(torch._efficientzerotensor(2))
    assert stands_for_itself(torch.ones(1).expand(3))


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
