"""Layers in compiled programs: what they compute and track is what they do without a compiler."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import normwise as nw
from normwise.testing import assert_close

Make = Callable[[], nn.Module]


class Twice(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2.0 * weight


def doubled(layer: nn.Module) -> nn.Module:
    parametrize.register_parametrization(layer, "weight", Twice())
    return layer


LAYERS: dict[str, Make] = {
    "plain": lambda: nw.BatchNorm1d(4),
    "all alike": lambda: nw.BatchNorm1d(4, momentum=None),
    "biased": lambda: nw.BatchNorm1d(4, biased_running_var=True),
    "no affine": lambda: nw.BatchNorm1d(4, affine=False),
    "no bias": lambda: nw.BatchNorm1d(4, bias=False),
    "untracked": lambda: nw.BatchNorm1d(4, track_running_stats=False),
    "frozen": lambda: nw.BatchNorm1d(4).freeze_statistics(),
    "parametrized": lambda: doubled(nw.BatchNorm1d(4)),
    "fused": lambda: nw.BatchNormAct1d(4, activation="gelu"),
    "layer": lambda: nw.LayerNorm(4),
    "layer, no affine": lambda: nw.LayerNorm(4, elementwise_affine=False),
    "layer, parametrized": lambda: doubled(nw.LayerNorm(4)),
    "layer, fused": lambda: nw.LayerNormAct(4, activation="relu"),
}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 3 + 1


def compiled(layer: nn.Module, backend: str = "aot_eager") -> Callable[..., Tensor]:
    torch.compiler.reset()
    program: Callable[..., Tensor] = torch.compile(layer, backend=backend, fullgraph=True)
    return program


def assert_same_state(layer: nn.Module, other: nn.Module) -> None:
    for (name, mine), (_, theirs) in zip(layer.named_buffers(), other.named_buffers(), strict=True):
        assert mine.dtype == theirs.dtype, name
        assert_close(mine, theirs)


@pytest.mark.parametrize("name", LAYERS)
def test_training_and_evaluation_are_those_of_the_layer(name: str) -> None:
    layer = LAYERS[name]()
    other = copy.deepcopy(layer)
    program = compiled(other)
    for training in (True, True, False, True):
        layer.train(training), other.train(training)
        x = drawn(6, 4, seed=3 + training).requires_grad_()
        y = x.detach().clone().requires_grad_()
        expected, found = layer(x), program(y)
        direction = drawn(6, 4, seed=9)
        (expected * direction).sum().backward(), (found * direction).sum().backward()
        assert_close(found, expected)
        assert_close(y.grad, x.grad)
        for mine, theirs in zip(other.parameters(), layer.parameters(), strict=True):
            assert_close(mine.grad, theirs.grad)
        assert_same_state(other, layer)


@pytest.mark.parametrize("name", ["plain", "biased", "fused"])
def test_a_narrow_layer_keeps_wide_statistics(name: str) -> None:
    layer = LAYERS[name]().bfloat16()
    other = copy.deepcopy(layer)
    x = drawn(16, 4).bfloat16()
    with nw.use_backend("aten"):
        expected = layer(x)
    assert_close(compiled(other)(x), expected)
    assert_same_state(other, layer)
    assert other.get_buffer("running_mean").dtype == torch.float32


@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16])
def test_a_narrow_layer_in_evaluation_is_read_by_wide_statistics(narrow: torch.dtype) -> None:
    layer = nw.BatchNorm1d(4).to(narrow).eval()
    x = drawn(6, 4).to(narrow)
    expected = layer(x)
    assert_close(compiled(layer)(x), expected)
    assert_close(torch.export.export(layer, (x,)).module()(x), expected)


def test_a_batch_of_no_samples_counts_and_moves_nothing() -> None:
    layer = nw.BatchNorm1d(4)
    other = copy.deepcopy(layer)
    layer(torch.empty(0, 4))
    compiled(other)(torch.empty(0, 4))
    assert_same_state(other, layer)


def test_a_single_sample_takes_the_running_statistics_where_it_may() -> None:
    layer = nw.BatchNorm1d(4, single_sample="running")
    layer(drawn(8, 4))
    other = copy.deepcopy(layer)
    assert_close(compiled(other)(drawn(1, 4)), layer(drawn(1, 4)))
    assert_same_state(other, layer)


def test_a_single_sample_is_refused() -> None:
    with pytest.raises(Exception, match="more than 1 value per channel"):
        compiled(nw.BatchNorm1d(4))(drawn(1, 4))


def test_the_values_of_a_packed_sequence() -> None:
    layer = nw.BatchNorm1d(4)
    other = copy.deepcopy(layer)
    packed = pack_sequence([drawn(5, 4), drawn(3, 4, seed=1)])
    expected = layer(packed)
    found = compiled(other, "eager")(packed)
    assert isinstance(found, PackedSequence)
    assert_close(found.data, expected.data)
    assert_same_state(other, layer)


@pytest.mark.filterwarnings(
    "ignore:.torch.jit:DeprecationWarning"
)  # inductor itself calls what torch deprecates
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_no_optimization_takes_the_check_of_the_batch_away(value: float) -> None:
    layer = nw.BatchNorm1d(4)
    other = copy.deepcopy(layer)
    program = compiled(other, "inductor")
    bad = drawn(6, 4)
    bad[0, 0] = value
    program(bad)
    assert int(other.get_buffer("num_batches_skipped")) == 1
    program(drawn(6, 4))
    layer(drawn(6, 4))
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert_close(other.get_buffer(name), layer.get_buffer(name))
