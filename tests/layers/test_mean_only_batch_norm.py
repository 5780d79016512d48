"""Mean-only batch normalization: values, gradients, the running mean, and its place behind weight normalization."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from normwise import layers as nw
from normwise.testing import assert_close

SHAPES = {1: (5, 3), 2: (5, 3, 4, 2), 3: (4, 3, 2, 3, 2)}


@pytest.mark.parametrize("rank", SHAPES)
def test_values_and_gradients(rank: int) -> None:
    generator = torch.Generator().manual_seed(0)
    layer = getattr(nw, f"MeanOnlyBatchNorm{rank}d")(3, momentum=0.3).double()
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([1.0, -2.0, 0.5]))
    x = (torch.randn(SHAPES[rank], generator=generator, dtype=torch.float64) + 4).requires_grad_()
    values, axes = x.detach().numpy(), (0, *range(2, x.dim()))
    shape = (1, 3, *(1,) * (x.dim() - 2))
    bias = np.array([1.0, -2.0, 0.5]).reshape(shape)
    mean = values.mean(axes, keepdims=True)
    y = layer(x)
    assert_close(y, torch.from_numpy(values - mean + bias))
    g = torch.randn(y.shape, generator=generator, dtype=torch.float64)
    y.backward(g)
    assert_close(x.grad, torch.from_numpy(g.numpy() - g.numpy().mean(axes, keepdims=True)))
    assert_close(layer.bias.grad, torch.from_numpy(g.numpy().sum(axes)))
    assert_close(layer.running_mean, torch.from_numpy(0.3 * mean.reshape(-1)))
    expected = values - 0.3 * mean + bias
    assert_close(layer.eval()(x), torch.from_numpy(expected), what="evaluation")


def test_weights_of_elements() -> None:
    x = torch.tensor([[1.0, 5.0], [3.0, 7.0], [100.0, float("nan")]])
    layer = nw.MeanOnlyBatchNorm1d(2, momentum=1.0)
    y = layer(x, torch.tensor([3.0, 1.0, 0.0]))
    assert_close(layer.running_mean, torch.tensor([1.5, 5.5]))
    assert_close(y[:2], torch.tensor([[-0.5, -0.5], [1.5, 1.5]]))
    assert y[2, 0] == 98.5


def test_behind_weight_normalization_the_bias_before_is_lost() -> None:
    torch.manual_seed(0)
    before = nw.weight_norm(nn.Linear(4, 3))
    layer, x = nw.MeanOnlyBatchNorm1d(3), torch.randn(8, 4)
    first = layer(before(x))
    with torch.no_grad():
        before.bias += 10
    assert_close(layer(before(x)), first, scale=10.0)


def test_state_and_description() -> None:
    assert list(nw.MeanOnlyBatchNorm2d(3).state_dict()) == ["bias", "running_mean", "num_batches_tracked"]
    assert list(nw.MeanOnlyBatchNorm2d(3, bias=False).state_dict()) == ["running_mean", "num_batches_tracked"]
    assert repr(nw.MeanOnlyBatchNorm2d(3)) == "MeanOnlyBatchNorm2d(3, momentum=0.1, bias=True)"
