"""Running statistics of the macro-batch under gradient accumulation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from normwise import layers
from normwise.errors import ArgumentError
from normwise.layers import accumulate_statistics
from normwise.testing import assert_close


def parts(*sizes: int, shape: tuple[int, ...] = (4, 3, 3)) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, *shape, generator=generator) * (1 + i) + 3 * i for i, n in enumerate(sizes)]


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("biased", [False, True])
def test_statistics_are_those_of_the_large_batch(momentum: float | None, biased: bool) -> None:
    options = {"momentum": momentum, "biased_running_var": biased}
    ours, large, small = (layers.BatchNorm2d(4, **options) for _ in range(3))
    for repeat in range(2):
        micro = [x + repeat for x in parts(5, 2, 7)]
        with accumulate_statistics(ours):
            outputs = [ours(x) for x in micro]
        large(torch.cat(micro))
        for x, y in zip(micro, outputs, strict=True):
            assert_close(y, small(x))  # each part by its own
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert_close(ours.get_buffer(name), large.get_buffer(name), what=name)
    # The average over the parts lacks what lies between them.
    assert (small.running_var - large.running_var).abs().max() > 0.1


def test_gradients_are_those_of_each_part_and_weights_count() -> None:
    model = nn.Sequential(nn.Linear(4, 4), layers.BatchNormAct1d(4, activation="relu"))
    micro = parts(6, 5, shape=(4,))
    with accumulate_statistics(model):
        for x in micro:
            model(x).square().sum().backward()
    accumulated = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    for x in micro:
        model(x).square().sum().backward()
    for mine, other in zip(accumulated, model.parameters(), strict=True):
        assert_close(mine, other.grad, scale=1.0)
    layer, plain = layers.BatchNorm1d(4), layers.BatchNorm1d(4)
    mask = torch.tensor([True, True, False, True, True, True])
    with accumulate_statistics(layer):
        layer(micro[0], mask)
        layer(micro[1])
    plain(torch.cat([micro[0][mask], micro[1]]))
    assert_close(layer.running_var, plain.running_var)


def test_a_part_that_is_not_finite_is_left_out() -> None:
    layer, other = layers.BatchNorm1d(4), layers.BatchNorm1d(4)
    good, bad = parts(6, 5, shape=(4,))
    bad[2, 1] = torch.nan
    with accumulate_statistics(layer):
        layer(good)
        layer(bad)
    other(good)
    assert_close(layer.running_mean, other.running_mean)
    assert (layer.num_batches_tracked.item(), layer.num_batches_skipped.item()) == (1, 1)


def test_nothing_moves_after_an_exception_in_evaluation_or_where_nothing_ran() -> None:
    layer = layers.BatchNorm1d(4)
    x = parts(6, shape=(4,))[0]
    with pytest.raises(ValueError, match="Expected more than 1 value"), accumulate_statistics(layer):
        layer(x).sum() + layer(x[:1]).sum()
    layer.eval()
    with accumulate_statistics(layer):
        layer(x)
    layer.train()
    with accumulate_statistics(layer):
        pass
    assert layer.num_batches_tracked == 0
    assert torch.equal(layer.running_mean, torch.zeros(4))
    layer(x)  # the block is over
    assert layer.num_batches_tracked == 1


def test_a_model_without_normwises_layers_is_refused() -> None:
    block = accumulate_statistics(nn.Sequential(nn.BatchNorm1d(3)))
    with pytest.raises(
        ArgumentError, match="accumulate_statistics: the model must have a batch normalization"
    ):
        block.__enter__()
