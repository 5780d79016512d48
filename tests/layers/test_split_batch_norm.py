"""Split batch normalization: each part by a layer of its own, evaluation by the first one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from normwise import layers as nw
from normwise.errors import ArgumentError
from normwise.testing import assert_close

# The names that timm's SplitBatchNorm2d has, in its order.
KEYS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def batch(seed: int = 0, samples: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, 3, 4, 2, generator=generator, dtype=torch.float64) * 2 + 1


def trained(num_splits: int = 2, **options: object) -> nw.SplitBatchNorm2d:
    layer = nw.SplitBatchNorm2d(3, num_splits, **options).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in (*layer.parameters(), *(b for b in layer.buffers() if b.is_floating_point())):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return layer


@pytest.mark.parametrize("num_splits", [2, 3])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_each_part_is_torchs_layer(num_splits: int, momentum: float | None) -> None:
    layer = trained(num_splits, momentum=momentum)
    state = layer.state_dict()
    singles = [nn.BatchNorm2d(3, momentum=momentum).double() for _ in range(num_splits)]
    for number, single in enumerate(singles):
        prefix = f"aux_bn.{number - 1}." if number else ""
        single.load_state_dict({key: state[prefix + key].clone() for key in KEYS})
    for step in range(2):
        x, other = batch(step).requires_grad_(), batch(step).requires_grad_()
        expected = torch.cat([s(part) for s, part in zip(singles, other.chunk(num_splits), strict=True)])
        y = layer(x)
        assert_close(y, expected)
        g = torch.randn(y.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        y.backward(g)
        expected.backward(g)
        assert_close(x.grad, other.grad, what="gradient of input")
    for number, single in enumerate(singles):
        mine = layer.aux_bn[number - 1] if number else layer
        for key in KEYS:
            assert_close(getattr(mine, key), getattr(single, key), what=f"{key} of {number}")
        assert_close(mine.weight.grad, single.weight.grad, what=f"gradient of weight {number}")
    layer.eval()
    assert_close(layer(batch(7, 5)), singles[0].eval()(batch(7, 5)), what="evaluation")


def test_keys_are_timms() -> None:
    auxiliary = [f"aux_bn.{number}.{key}" for number in (0, 1) for key in KEYS]
    assert list(nw.SplitBatchNorm2d(3, 3).state_dict()) == [*KEYS, *auxiliary]


@pytest.mark.parametrize("num_splits", [2, 3])
def test_gradients_in_training(num_splits: int) -> None:
    layer = trained(num_splits)
    parameters = dict(layer.named_parameters())

    def function(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        state = dict(zip(parameters, values, strict=True))
        state |= {name: buffer.clone() for name, buffer in layer.named_buffers()}
        return torch.func.functional_call(layer, state, (x,))

    inputs = (batch().requires_grad_(), *(p.detach().clone().requires_grad_() for p in parameters.values()))
    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)
    output = function(*inputs)
    g = torch.randn(output.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    assert all(gradient.abs().max() > 0 for gradient in torch.autograd.grad(output, inputs, g))


def test_a_part_that_is_not_finite_is_skipped_alone() -> None:
    layer, x = trained(), batch()
    x[4] = float("nan")
    before = copy.deepcopy(layer.state_dict())
    output = layer(x)
    assert output[:3].isfinite().all()
    assert output[3:].isnan().all()
    for key, value in layer.state_dict().items():
        moves = "running" in key or "batches" in key
        assert torch.equal(value, before[key]) == (key.startswith("aux_bn") or not moves), key
    assert (layer.num_batches_skipped, layer.aux_bn[0].num_batches_skipped) == (0, 1)


def test_switches_reach_all_parts() -> None:
    layer = nw.SplitBatchNorm2d(3, 3).freeze_statistics().freeze_affine()
    parts = [layer, *layer.aux_bn]
    assert all(part.statistics_frozen and not part.weight.requires_grad for part in parts)
    assert not any(parameter.requires_grad for parameter in layer.parameters())
    layer.freeze_statistics(False).freeze_affine(False)
    assert all(not part.statistics_frozen and part.weight.requires_grad for part in parts)
    assert not any(part.training for part in (layer.eval(), *layer.aux_bn))


def test_refusals() -> None:
    with pytest.raises(ArgumentError, match=r"parts of one size.*7 samples and 2 parts.*drop_last"):
        nw.SplitBatchNorm2d(3).double()(batch(samples=7))
    with pytest.raises(
        ArgumentError, match=r"`num_splits` must be at least 2\. Got 1\. hint: one is BatchNorm"
    ):
        nw.SplitBatchNorm2d(3, 1)
