"""Inputs of every layout, dtype and size: what the kernels take, what torch gets, and what torch refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import normwise as nw
from normwise import functional
from normwise.errors import BackendError
from normwise.kernels.registry import recorded
from normwise.testing import assert_close


def seeded(layer: nn.Module, x: Tensor) -> Tensor:
    torch.manual_seed(0)
    return layer(x)


def transposed(x: Tensor) -> Tensor:
    return x.transpose(0, 3).contiguous().transpose(0, 3)


def gaps(x: Tensor) -> Tensor:
    return torch.stack((x, torch.full_like(x, torch.nan)), dim=-1)[..., 0]


def expanded(x: Tensor) -> Tensor:
    return x[:1].expand_as(x)


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": transposed,
    "gaps": gaps,
    "expanded": expanded,
    "channels_last": channels_last,
    "an offset": lambda x: torch.cat((x, x))[len(x) :],
    "reversed by a flip of strides": lambda x: x.flip(0),
}


@pytest.mark.parametrize("lying", LAYOUTS)
def test_strides_change_nothing(lying: str, binding: str, x: Tensor, layer: nn.Module) -> None:
    """A norm by name takes any strides; dropout leaves gaps to torch."""
    view = LAYOUTS[lying](x)
    dense = view.clone(memory_format=torch.contiguous_format)
    if hasattr(layer, "dropout"):  # the mask goes by the place in memory
        layer.eval()
    if isinstance(layer, nw.Dropout):
        with nw.use_backend("auto"), recorded() as choices:
            output = seeded(layer, view)
        assert len(choices) == 1
        assert bool(((output == 0) | ((output - view / 0.6).abs() < 1e-3)).all())
        return
    with nw.use_backend(binding), recorded() as choices:
        output = seeded(layer, view)
    assert [choice.backend for choice in choices] == [binding]
    assert_close(output, seeded(layer, dense), what=lying)


def test_axes_of_length_one(binding: str) -> None:
    """Their strides mean nothing, and may be anything."""
    x = torch.randn(4, 6)
    odd = torch.as_strided(x.clone(), (4, 6, 1, 1), (6, 1, 17, 5))
    for layer in (nw.BatchNorm2d(6), nw.GroupNorm(2, 6), nw.LayerNorm2d(6), nw.RMSNorm2d(6)):
        with nw.use_backend(binding), recorded() as choices:
            output = layer(odd)
        assert [choice.backend for choice in choices] == [binding]
        with nw.use_backend("aten"):
            assert_close(output, layer(x[:, :, None, None].contiguous()))


def test_one_value_spread_over_all(binding: str) -> None:
    x = torch.full((1,), 3.0).expand(4, 6)
    layer = nw.LayerNorm(6)
    with nw.use_backend(binding):
        assert_close(layer(x), torch.zeros(4, 6))


def negated(x: Tensor) -> Tensor:
    return torch.complex(torch.zeros_like(x), -x).conj().imag


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (negated, r"negated lazily|stands for values that are not in memory"),
        (lambda x: x.to_sparse(), "sparse"),
        (lambda x: x.long(), "the kernels have no torch.int64"),
        (lambda x: x[:0], "the input is empty"),
        (lambda x: x.to(torch.complex64), "the kernels have no torch.complex64"),
    ],
    ids=["negated", "sparse", "integers", "empty", "complex"],
)
def test_what_is_no_dense_real_tensor_is_refused_by_name(
    make: Callable[[Tensor], Tensor], reason: str, binding: str, x: Tensor, layer: nn.Module
) -> None:
    with nw.use_backend(binding), pytest.raises(BackendError, match=reason):
        layer(make(x))


def test_a_lazily_negated_input_has_its_values(x: Tensor, layer: nn.Module) -> None:
    assert negated(x).is_neg()
    layer.eval()
    with nw.use_backend("auto"):
        assert_close(layer(negated(x)), layer(x.clone()))


@pytest.mark.parametrize("make", [lambda x: x.to_sparse(), lambda x: x.long()], ids=["sparse", "integers"])
def test_torch_refuses_in_its_words(make: Callable[[Tensor], Tensor], x: Tensor) -> None:
    for ours, theirs in (
        (nw.BatchNorm2d(4), nn.BatchNorm2d(4)),
        (nw.GroupNorm(2, 4), nn.GroupNorm(2, 4)),
        (nw.LayerNorm(6), nn.LayerNorm(6)),
    ):
        with pytest.raises((RuntimeError, NotImplementedError)) as expected:
            theirs(make(x))
        with nw.use_backend("auto"), pytest.raises(type(expected.value)) as caught:
            ours(make(x))
        assert not isinstance(caught.value, BackendError)
        assert str(caught.value)[:60] == str(expected.value)[:60]


WRONG: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "batch_norm": lambda x, w: functional.batch_norm(x, None, None, w, None, True),
    "batch_norm's bias": lambda x, w: functional.batch_norm(x, None, None, None, w, True),
    "batch_norm's statistics": lambda x, w: functional.batch_norm(x, w, w, None, None, False),
    "batch_norm's statistics in training": lambda x, w: functional.batch_norm(x, w, w, None, None, True),
    "group_norm": lambda x, w: functional.group_norm(x, 2, w),
    "layer_norm": lambda x, w: functional.layer_norm(x, (6,), w),
    "rms_norm": lambda x, w: functional.rms_norm(x, (6,), w),
    "instance_norm": lambda x, w: functional.instance_norm(x, weight=w),
    "linear": lambda x, w: functional.linear(x, w.expand(2, -1)),
    "instance_norm's statistics": lambda x, w: functional.instance_norm(x, w, w, use_input_stats=False),
}


@pytest.mark.parametrize("size", [1, 3, 5, 24])
@pytest.mark.parametrize("name", WRONG)
def test_parameters_of_a_wrong_size_are_never_read(name: str, size: int, binding: str, x: Tensor) -> None:
    wrong = torch.ones(size)
    with nw.use_backend("aten"), pytest.raises((RuntimeError, ValueError)) as expected:
        WRONG[name](x, wrong)
    with nw.use_backend("auto"), pytest.raises(type(expected.value)) as caught:
        WRONG[name](x, wrong)
    assert str(caught.value) == str(expected.value)
    with nw.use_backend(binding), pytest.raises(BackendError, match=r"size|shape"):
        WRONG[name](x, wrong)


def test_an_empty_batch_is_torchs(layer: nn.Module, x: Tensor) -> None:
    with nw.use_backend("auto"), recorded() as choices:
        output = layer(x[:0])
    assert output.shape == (0, *x.shape[1:])
    assert {choice.refused["cpu"] for choice in choices} == {"the input is empty"}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_layers_of_any_dtype(layer: nn.Module, x: Tensor, dtype: torch.dtype, binding: str) -> None:
    layer = layer.to(dtype)
    with nw.use_backend(binding), recorded() as choices:
        output = seeded(layer, x.to(dtype).requires_grad_())
        output.backward(torch.ones_like(output))
    assert {choice.backend for choice in choices} == {binding}
    assert output.dtype == dtype
    assert all(p.grad is not None and p.grad.dtype == dtype for p in layer.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_input_with_float32_parameters(
    layer: nn.Module, x: Tensor, dtype: torch.dtype, binding: str
) -> None:
    layer.eval()
    if isinstance(layer, nw.Dropout):
        layer.train()
    narrow = x.to(dtype)
    if isinstance(layer, nw.Linear):  # torch has no such product
        with nw.use_backend(binding), pytest.raises(BackendError, match=r"parameters of torch\.float32"):
            layer(narrow)
        return
    with nw.use_backend(binding), recorded() as choices:
        output = seeded(layer, narrow)
    assert {choice.backend for choice in choices} == {binding}
    assert output.dtype == dtype
    if not isinstance(layer, nw.Dropout):
        assert_close(output, layer.double()(narrow.double()))


def test_autocast_runs_the_kernels(layer: nn.Module, x: Tensor, binding: str) -> None:
    """Autocast casts matrix products: what comes out of one is bfloat16, and the parameters are float32."""
    if isinstance(layer, nw.Linear):
        with torch.autocast("cpu", dtype=torch.bfloat16), nw.use_backend("auto"):
            assert layer(x).dtype == torch.bfloat16
            with nw.use_backend(binding), pytest.raises(BackendError, match="autocast"):
                layer(x)
        return
    with torch.autocast("cpu", dtype=torch.bfloat16), nw.use_backend(binding), recorded() as choices:
        wide = seeded(layer, x)
        narrow = seeded(layer, x.bfloat16())
    assert {choice.backend for choice in choices} == {binding}
    assert (wide.dtype, narrow.dtype) == (torch.float32, torch.bfloat16)
