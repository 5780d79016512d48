"""Ghost batch normalization: each part by its own statistics, one update a batch, batch normalization elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from normwise import layers as nw
from normwise.errors import ArgumentError
from normwise.functional.ghost_batch_norm import ghost_sizes
from normwise.kernels.registry import recorded, use_backend
from normwise.testing import assert_close


def batch(samples: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    level = torch.arange(samples, dtype=torch.float64)[:, None, None]  # ghosts differ
    return (torch.randn(samples, 3, 4, generator=generator, dtype=torch.float64) + level).to(dtype)


def cut(samples: int, ghost_size: int) -> list[slice]:
    """Each ghost's samples, one by one."""
    ghosts = max(1, int(np.ceil(samples / ghost_size - 0.5)))
    sizes = [samples // ghosts + (ghost < samples % ghosts) for ghost in range(ghosts)]
    ends = np.cumsum(sizes)
    return [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]


@pytest.mark.parametrize("samples", [1, 3, 4, 5, 6, 7, 10, 11, 13])
@pytest.mark.parametrize("ghost_size", [1, 2, 3, 4, 32])
@pytest.mark.parametrize("momentum", [0.3, None])
def test_each_ghost_is_normalized_alone(samples: int, ghost_size: int, momentum: float | None) -> None:
    layer = nw.GhostBatchNorm1d(3, ghost_size, momentum=momentum).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
        layer.bias.copy_(torch.tensor([1.0, 0.0, -1.0]))
    expected_mean, expected_var = np.zeros(3), np.ones(3)
    for step in range(2):
        x = batch(samples, step).numpy()
        output, means, variances, sizes = np.empty_like(x), [], [], []
        for part in cut(samples, ghost_size):
            mean, var = x[part].mean((0, 2)), x[part].var((0, 2))
            scaled = (x[part] - mean[:, None]) / np.sqrt(var[:, None] + 1e-5)
            output[part] = scaled * np.array([[0.5], [1], [2]]) + np.array([[1], [0], [-1]])
            means.append(mean)
            variances.append(x[part].var((0, 2), ddof=1))
            sizes.append(part.stop - part.start)
        rate = momentum or 1 / (step + 1)
        expected_mean += rate * (np.average(means, 0, sizes) - expected_mean)
        expected_var += rate * (np.average(variances, 0, sizes) - expected_var)
        assert_close(layer(torch.from_numpy(x)), torch.from_numpy(output))
        assert_close(layer.running_mean, torch.from_numpy(expected_mean), what="running mean")
        assert_close(layer.running_var, torch.from_numpy(expected_var), what="running variance")
    assert layer.num_batches_tracked == 2


@pytest.mark.parametrize("ghost_size", [2, 3])
def test_gradients_are_those_of_layers_side_by_side(ghost_size: int) -> None:
    layer, x = nw.GhostBatchNorm1d(3, ghost_size).double(), batch(7).requires_grad_()
    one, other = nw.BatchNorm1d(3).double(), batch(7).requires_grad_()
    g = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    layer(x).backward(g)
    for part in cut(7, ghost_size):
        one(other[part]).backward(g[part])
    assert_close(x.grad, other.grad)
    assert_close(layer.weight.grad, one.weight.grad)
    assert_close(layer.bias.grad, one.bias.grad)


@pytest.mark.parametrize("samples", range(1, 70))
@pytest.mark.parametrize("ghost_size", [1, 2, 3, 5, 8, 32])
def test_sizes_differ_by_one_at_most(samples: int, ghost_size: int) -> None:
    sizes = [size for number, size in ghost_sizes(samples, ghost_size) for _ in range(number)]
    assert sum(sizes) == samples
    assert max(sizes) - min(sizes) <= 1
    assert abs(len(sizes) - samples / ghost_size) <= 0.5 or len(sizes) == 1
    assert min(sizes) > 1 or samples == 1 or ghost_size == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_evaluation_and_small_batches_are_batch_normalization_to_the_bit(dtype: torch.dtype) -> None:
    ours, theirs = nw.GhostBatchNorm1d(3, 8), nw.BatchNorm1d(3)
    x = batch(5, dtype=dtype)
    assert torch.equal(ours(x), theirs(x))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value), key
    ours(batch(40, dtype=dtype))
    theirs.load_state_dict(ours.state_dict())
    for samples in (1, 5, 40):
        x = batch(samples, dtype=dtype)
        assert torch.equal(ours.eval()(x), theirs.eval()(x))


def test_layouts_and_kernels() -> None:
    layer = nw.GhostBatchNorm2d(3, 2)
    x = batch(5, dtype=torch.float32).unsqueeze(3).expand(-1, -1, -1, 5).contiguous()
    last = x.contiguous(memory_format=torch.channels_last)
    with use_backend("cpu"), recorded() as choices:
        output = layer(last)
    assert output.is_contiguous(memory_format=torch.channels_last)
    assert [choice.shape[:2] for choice in choices] == [(1, 3), (1, 2)]
    assert not any(choice.backend == "aten" for choice in choices)
    assert_close(output, nw.GhostBatchNorm2d(3, 2)(x))


def test_tiny_variances_are_tracked_as_they_are() -> None:
    for dtype, small in ((torch.float64, 1e-40), (torch.float32, 1e-12)):
        layer = nw.GhostBatchNorm1d(1, 2, momentum=1.0, dtype=dtype)
        layer(torch.tensor([[small], [-small], [small], [-small]], dtype=dtype))
        assert_close(layer.running_var, torch.tensor([2 * small**2], dtype=torch.float64))


def test_weights_of_samples() -> None:
    layer, x = nw.GhostBatchNorm1d(3, 2, momentum=1.0).double(), batch(7)
    part = torch.tensor([1.0, 0.0, 2.0, 0.5, 0.0, 0.0, 0.0], dtype=torch.float64)
    values, weights = x.numpy(), part.numpy()
    output, means, variances, sizes = np.empty_like(values), [], [], []
    for ghost in cut(7, 2):
        w = weights[ghost][:, None, None]
        total = max(w.sum() * 4, 1e-30)
        mean = (values[ghost] * w).sum((0, 2)) / total
        squares = ((values[ghost] - mean[:, None]) ** 2 * w).sum((0, 2))
        output[ghost] = (values[ghost] - mean[:, None]) / np.sqrt(squares[:, None] / total + 1e-5)
        means.append(mean)
        variances.append(squares / (w.sum() * 4 - 1) if w.any() else squares)
        sizes.append(w.sum() * 4)
    assert sizes == [12.0, 2.0, 0.0]
    assert_close(layer(x, part), torch.from_numpy(output))
    assert_close(layer.running_mean, torch.from_numpy(np.average(means, 0, sizes)))
    assert_close(layer.running_var, torch.from_numpy(np.average(variances, 0, sizes)))


def test_refusals() -> None:
    with pytest.raises(ArgumentError, match=r"`ghost_size` must be at least 1\. Got 0"):
        nw.GhostBatchNorm1d(3, 0)
    with pytest.raises(ArgumentError, match=r"in each ghost.*\(4, 3\) and ghosts of 1.*larger `ghost_size`"):
        nw.GhostBatchNorm1d(3, 1)(torch.ones(4, 3))
