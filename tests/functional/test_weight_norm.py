"""Weight normalization against the reference and torch's own operator; zero vectors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor

from normwise import functional, reference
from normwise.kernels.cpu import library
from normwise.kernels.registry import use_backend
from normwise.testing import assert_close

EXAMPLES = settings(max_examples=30, deadline=None, derandomize=True)


@pytest.fixture(autouse=True, scope="module", params=["auto", "aten"])
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """One node in C++, where that is built, and one in Python."""
    with use_backend(request.param):
        yield request.param


def leaves(shape: tuple[int, ...], kept: int, dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sizes = tuple(size if axis == kept else 1 for axis, size in enumerate(shape))
    gain = (torch.rand(sizes, generator=generator) + 0.5).to(dtype)
    direction = torch.randn(shape, generator=generator).to(dtype)
    return gain.requires_grad_(), direction.requires_grad_()


@EXAMPLES
@given(
    shape=st.lists(st.integers(1, 5), min_size=2, max_size=4).map(tuple),
    kept=st.integers(0, 1),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
)
def test_against_the_reference(shape: tuple[int, ...], kept: int, dtype: torch.dtype) -> None:
    gain, direction = leaves(shape, kept, dtype)
    axes = tuple(axis for axis in range(len(shape)) if axis != kept)
    weight = functional.weight_norm(gain, direction, axes)
    assert weight.dtype == dtype
    wide = gain.detach().double().requires_grad_(), direction.detach().double().requires_grad_()
    expected = reference.weight_norm(*wide, axes)
    assert_close(weight, expected, what="weight")
    cotangent = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    if dtype == torch.bfloat16:
        return
    mine = torch.autograd.grad(weight, (gain, direction), cotangent)
    theirs = torch.autograd.grad(expected, wide, cotangent.double())
    for name, a, b in zip(("gain", "direction"), mine, theirs, strict=True):
        # A short direction magnifies its gradient by its inverse length.
        length = direction.detach().double().square().sum(axes).sqrt().min().item()
        assert_close(a, b, what=f"gradient of {name}", scale=4.0 / min(length, 1.0))


def test_is_torchs_own_where_torch_has_one() -> None:
    gain, direction = leaves((6, 5, 3, 3), 0, torch.float32)
    assert_close(
        functional.weight_norm(gain, direction, (1, 2, 3)), torch._weight_norm(direction, gain, 0), factor=0.1
    )


def test_what_runs_is_one_node_that_notices_writes(backend: str) -> None:
    gain, direction = leaves((4, 3), 0, torch.float32)
    weight = functional.weight_norm(gain, direction, (1,))
    native = backend == "auto" and library.why_missing("native") is None
    assert weight.grad_fn is not None
    assert weight.grad_fn.name() == ("NormwiseWeightNorm" if native else "WeightNormInterfaceBackward0")
    with torch.no_grad():
        direction.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        weight.sum().backward()


@pytest.mark.parametrize("kept", [0, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_zero_vector_gives_zero_and_a_gradient_that_leads_out(kept: int, dtype: torch.dtype) -> None:
    gain, direction = leaves((4, 3), kept, dtype)
    with torch.no_grad():
        direction.select(kept, 1).zero_()
    weight = functional.weight_norm(gain, direction, (1 - kept,))
    assert weight.select(kept, 1).abs().max() == 0
    cotangent = torch.randn(4, 3, generator=torch.Generator().manual_seed(1)).to(dtype)
    slope, pull = torch.autograd.grad(weight, (gain, direction), cotangent)
    assert slope.isfinite().all()
    assert slope.select(kept, 1).item() == 0
    assert pull.isfinite().all()
    assert_close(pull.select(kept, 1), (gain * cotangent).detach().select(kept, 1), what="gradient at zero")
    others = [row for row in range(direction.shape[kept]) if row != 1]
    untouched = functional.weight_norm(
        gain.index_select(kept, torch.tensor(others)),
        direction.index_select(kept, torch.tensor(others)),
        (1 - kept,),
    )
    assert_close(weight.index_select(kept, torch.tensor(others)), untouched, what="the other units")


# At its first forward-mode derivative torch calls a function that it deprecates.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_derivatives() -> None:
    gain, direction = leaves((3, 2, 2), 0, torch.float64)
    wide = gain.detach().double().requires_grad_(), direction.detach().double().requires_grad_()

    def function(g: Tensor, v: Tensor) -> Tensor:
        return functional.weight_norm(g, v, (1, 2))

    assert torch.autograd.gradcheck(function, wide)
    assert torch.autograd.gradgradcheck(function, wide)
    _, tangent = torch.func.jvp(function, wide, (torch.ones_like(wide[0]), torch.zeros_like(wide[1])))
    assert_close(
        tangent, wide[1] / wide[1].flatten(1).norm(dim=1).reshape(3, 1, 1), what="tangent along the gain"
    )


def test_under_transforms() -> None:
    gain, direction = leaves((4, 3), 0, torch.float32)
    many = torch.stack([direction, direction.flip(0), -direction]).detach()
    mapped = torch.func.vmap(lambda v: functional.weight_norm(gain, v, (1,)))(many)
    assert_close(mapped, torch.stack([functional.weight_norm(gain, v, (1,)) for v in many]))
    torch.compiler.reset()
    compiled = torch.compile(functional.weight_norm, fullgraph=True, backend="aot_eager")
    assert_close(compiled(gain, direction, (1,)), functional.weight_norm(gain, direction, (1,)))
    shape = functional.weight_norm(gain.to("meta"), direction.to("meta"), (1,)).shape
    assert shape == (4, 3)


@pytest.mark.parametrize("fixed", [0, 1])
def test_second_derivatives_where_one_of_the_two_is_fixed(fixed: int) -> None:
    gain, direction = (t.detach().double() for t in leaves((3, 4), 0, torch.float64))
    both = [gain, direction]
    learned = both[1 - fixed].requires_grad_()

    def function(value: Tensor) -> Tensor:
        given = [value, direction] if fixed == 1 else [gain, value]
        return functional.weight_norm(given[0], given[1], (1,))

    assert torch.autograd.gradcheck(function, (learned,))
    assert torch.autograd.gradgradcheck(function, (learned,))
