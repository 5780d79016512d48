"""Linear layers: either library, either binding, against float64."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import normwise as nw
from normwise.functional import linear
from normwise.kernels.cpu import library, preference
from normwise.testing import assert_close

ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


Prefer = Callable[[bool], None]


@pytest.fixture
def prefer(monkeypatch: pytest.MonkeyPatch, native_built: None) -> Iterator[Prefer]:
    """Let oneDNN multiply whatever it can, or nothing, on any machine."""

    def choose(onednn: bool) -> None:
        monkeypatch.setattr(preference, "products_for_onednn", lambda: 1 if onednn else sys.maxsize)
        monkeypatch.setattr(preference, "SHORTEST_AXIS", 1)
        library.connect(library.native())

    yield choose
    monkeypatch.undo()
    library.connect(library.native())


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def passes(
    call: Callable[..., Tensor], x: Tensor, weight: Tensor, bias: Tensor | None, cotangent: Tensor
) -> list[Tensor]:
    """The output and all gradients."""
    leaves = [t.detach().clone().requires_grad_() for t in (x, weight, bias) if t is not None]
    output = call(*leaves)
    return [output.detach(), *torch.autograd.grad(output, leaves, cotangent)]


def error(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).square().mean().sqrt())


@pytest.mark.parametrize("onednn", [False, True] if ONEDNN else [False])
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # the fixtures say who multiplies, in every example
@given(data=st.data())
def test_the_error_is_at_most_twice_torchs(
    onednn: bool, data: st.DataObject, binding: str, prefer: Prefer
) -> None:
    prefer(onednn)
    sizes = st.sampled_from((1, 2, 7, 33, 64, 300, 1100))
    lead = data.draw(st.sampled_from(((5,), (40,), (1100,), (3, 11), (2, 3, 4))))
    inner, outer = data.draw(sizes), data.draw(sizes)
    x, weight, cotangent = randn(*lead, inner), randn(outer, inner, seed=1), randn(*lead, outer, seed=2)
    bias = randn(outer, seed=3) if data.draw(st.booleans()) else None
    wide = None if bias is None else bias.double()
    exact = passes(torch.nn.functional.linear, x.double(), weight.double(), wide, cotangent.double())
    theirs = passes(torch.nn.functional.linear, x, weight, bias, cotangent)
    with nw.use_backend(binding):
        ours = passes(linear, x, weight, bias, cotangent)
    for found, rival, true in zip(ours, theirs, exact, strict=True):
        assert found.shape == true.shape
        assert found.is_contiguous()
        assert error(found, true) <= 2 * error(rival, true) + 1e-7 * float(true.abs().max())


@pytest.mark.parametrize("onednn", [False, True] if ONEDNN else [False])
@pytest.mark.parametrize("shape", [(30, 40, 50), (1030, 20, 30), (20, 1300, 30), (20, 30, 1300)])
def test_the_bindings_agree_bit_for_bit(shape: tuple[int, int, int], onednn: bool, prefer: Prefer) -> None:
    prefer(onednn)
    samples, inner, outer = shape
    given_ = (
        randn(samples, inner),
        randn(outer, inner, seed=1),
        randn(outer, seed=2),
        randn(samples, outer, seed=3),
    )
    found = []
    for backend in ("portable", "native"):
        with nw.use_backend(backend):
            found.append(passes(linear, *given_))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_sums_are_cut_alike_for_any_number_of_threads(binding: str, prefer: Prefer) -> None:
    prefer(ONEDNN)
    given_ = randn(1500, 70), randn(1300, 70, seed=1), None, randn(1500, 1300, seed=3)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            with nw.use_backend(binding):
                found.append(passes(linear, *given_))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("with_bias", [True, False])
def test_derivatives_of_any_order(with_bias: bool, binding: str) -> None:
    leaves = [randn(4, 3, dtype=torch.float64), randn(2, 3, seed=1, dtype=torch.float64)]
    leaves += [randn(2, seed=2, dtype=torch.float64)] if with_bias else []
    for leaf in leaves:
        leaf.requires_grad_()
    with nw.use_backend(binding):
        assert gradcheck(linear, leaves)
        assert gradgradcheck(linear, leaves)


@pytest.mark.parametrize("onednn", [False, True] if ONEDNN else [False])
def test_tensors_that_lie_otherwise(onednn: bool, binding: str, prefer: Prefer) -> None:
    prefer(onednn)
    x, weight, cotangent = randn(40, 30), randn(20, 30, seed=1), randn(40, 20, seed=2)
    expected = passes(torch.nn.functional.linear, x, weight, None, cotangent)
    lying: list[Callable[[Tensor], Tensor]] = [
        lambda t: t.t().contiguous().t(),
        lambda t: torch.stack((t, t), -1)[..., 0],
    ]
    for lay in lying:
        for pick in range(3):
            laid = [lay(t) if i == pick else t for i, t in enumerate((x, weight, cotangent))]
            leaves = [t.detach().requires_grad_() for t in laid[:2]]
            with nw.use_backend(binding):
                output = linear(*leaves)
                found = [output.detach(), *torch.autograd.grad(output, leaves, laid[2])]
            for ours, theirs in zip(found, expected, strict=True):
                assert_close(ours, theirs)
    with nw.use_backend(binding):
        leaf = x.clone().requires_grad_()
        linear(leaf, weight).sum().backward()  # a gradient without strides
    assert_close(leaf.grad, weight.sum(0).expand_as(x))


def test_only_what_a_gradient_needs_is_kept(binding: str) -> None:
    for x_trains, weight_trains, kept in ((True, True, 2), (True, False, 1), (False, True, 1)):
        x, weight = randn(4, 3).requires_grad_(x_trains), randn(2, 3).requires_grad_(weight_trains)
        packed: list[Tensor] = []
        hooks = torch.autograd.graph.saved_tensors_hooks(lambda t, to=packed: to.append(t) or t, lambda t: t)
        with nw.use_backend(binding), hooks:
            output = linear(x, weight)
        assert len(packed) == kept
        output.sum().backward()
        assert (x.grad is not None, weight.grad is not None) == (x_trains, weight_trains)


def test_a_weight_that_was_written_over_is_noticed(binding: str) -> None:
    x, weight = randn(4, 3).requires_grad_(), randn(2, 3).requires_grad_()
    with nw.use_backend(binding):
        output = linear(x, weight)
    with torch.no_grad():
        weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


def test_what_does_not_fit_torch_refuses() -> None:
    for shapes in (((4, 3), (2, 5), (2,)), ((4, 3), (2, 3), (5,)), ((), (2, 3), (2,)), ((4, 3), (3,), (7,))):
        given_ = [torch.ones(shape) for shape in shapes]
        with pytest.raises(RuntimeError) as expected:
            torch.nn.functional.linear(*given_)
        with pytest.raises(RuntimeError) as caught:
            linear(*given_)
        assert str(caught.value) == str(expected.value)
    for x, weight in (((0, 3), (2, 3)), ((4, 0), (2, 0)), ((4, 3), (3,))):
        (choice,) = nw.explain_backend(linear, torch.ones(x), torch.ones(weight))
        assert (choice.backend, choice.library) == ("aten", None)
    assert linear(torch.ones(0, 3), torch.ones(2, 3)).shape == (0, 2)
    assert linear(torch.ones(4, 0), torch.ones(2, 0)).tolist() == [[0.0, 0.0]] * 4


def test_what_multiplies_is_said(binding: str, prefer: Prefer) -> None:
    def library_of(dtype: torch.dtype = torch.float32) -> str | None:
        with nw.use_backend(binding):
            (choice,) = nw.explain_backend(nw.Linear(300, 200, dtype=dtype), randn(100, 300, dtype=dtype))
        assert choice.ran == f"{binding} ({choice.library})"
        return choice.library

    prefer(ONEDNN)
    assert library_of() == ("oneDNN" if ONEDNN else "BLAS")
    assert library_of(torch.float64) == "BLAS"
    enabled = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)  # what `torch.backends.mkldnn.flags` does, besides a warning
    try:
        assert library_of() == "BLAS"
    finally:
        torch._C._set_mkldnn_enabled(enabled)
    prefer(False)
    assert library_of() == "BLAS"


def test_a_small_product_from_python_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under "auto" and without the native binding an autograd function in Python gains nothing there."""
    monkeypatch.setattr(library, "native", lambda: None)
    (choice,) = nw.explain_backend(nw.Linear(6, 5), torch.ones(3, 6))
    assert choice.backend == "aten"
    assert "no faster" in choice.refused["cpu"]


def test_the_layer_is_torchs() -> None:
    torch.manual_seed(0)
    ours = nw.Linear(6, 5)
    torch.manual_seed(0)
    theirs = torch.nn.Linear(6, 5)
    assert isinstance(ours, torch.nn.Linear)
    assert repr(ours) == repr(theirs)
    x = randn(3, 6)
    assert_close(ours(x), theirs(x))
    theirs.load_state_dict(ours.state_dict())
