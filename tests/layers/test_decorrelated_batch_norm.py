"""Decorrelated batch normalization: Newton's iteration, groups, the limit of exact whitening, few samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from normwise import layers as nw
from normwise.errors import ArgumentError
from normwise.functional import decorrelated_batch_norm, inverse_root
from normwise.testing import assert_close

SHAPES = {1: (30, 6), 2: (5, 6, 4, 2), 3: (4, 6, 2, 3, 2)}


def batch(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Channels that are correlated, with means of their own."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(6, 6, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    return torch.einsum("oc,nc...->no...", mixing, x) + torch.arange(6).reshape(
        1, 6, *(1,) * (len(shape) - 2)
    )


def columns(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)


def newton(
    x: np.ndarray, groups: int, iterations: int, eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Output (C, m), mean and whitening matrices, group by group as algorithm 1 has it."""
    rows, matrices = [], []
    flat = columns(x)
    mean = flat.mean(1)
    for group in np.split(flat - mean[:, None], groups):
        size = len(group)
        sigma = group @ group.T / group.shape[1] + eps * np.eye(size)
        normed = sigma / np.trace(sigma)
        values, vectors = np.linalg.eigh(normed)
        p = np.ones(size)  # in the basis of eigenvectors: the iteration on matrices is unstable
        for _ in range(iterations):
            p = (3 * p - p**3 * values) / 2
        p = vectors @ np.diag(p) @ vectors.T
        matrices.append(p / np.sqrt(np.trace(sigma)))
        rows.append(matrices[-1] @ group)
    return np.concatenate(rows), mean, np.stack(matrices)


@pytest.mark.parametrize("rank", SHAPES)
@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("momentum", [0.3, None])
def test_values_and_statistics(rank: int, groups: int, momentum: float | None) -> None:
    layer = getattr(nw, f"DecorrelatedBatchNorm{rank}d")(6, groups, momentum=momentum, eps=0.01).double()
    weight, bias = np.linspace(0.5, 2, 6)[:, None], np.linspace(-1, 1, 6)[:, None]
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight[:, 0]))
        layer.bias.copy_(torch.from_numpy(bias[:, 0]))
    mean, matrix = np.zeros(6), np.stack([np.eye(6 // groups)] * groups)
    for step in range(2):
        x = batch(SHAPES[rank], step)
        expected, batch_mean, batch_matrix = newton(x.numpy(), groups, 5, 0.01)
        output = columns(layer(x).detach().numpy())
        assert_close(torch.from_numpy(output), torch.from_numpy(expected * weight + bias))
        rate = momentum or 1 / (step + 1)
        mean = mean + rate * (batch_mean - mean)
        matrix = matrix + rate * (batch_matrix - matrix)
        assert_close(layer.running_mean, torch.from_numpy(mean))
        assert_close(layer.running_whitening, torch.from_numpy(matrix))
    x = batch(SHAPES[rank], 5)
    centred = (columns(x.numpy()) - mean[:, None]).reshape(groups, 6 // groups, -1)
    expected = (matrix @ centred).reshape(6, -1) * weight + bias
    output = columns(layer.eval()(x).detach().numpy())
    assert_close(torch.from_numpy(output), torch.from_numpy(expected), what="evaluation")


@pytest.mark.parametrize("groups", [1, 2])
def test_many_iterations_whiten_exactly(groups: int) -> None:
    x = batch((200, 6))
    layer = nw.DecorrelatedBatchNorm1d(6, groups, iterations=40, eps=1e-8).double()
    y = layer(x).detach()
    for part, of in zip(y.split(6 // groups, 1), x.split(6 // groups, 1), strict=True):
        assert_close(part.T @ part / 200, torch.eye(6 // groups).double(), factor=1e8)  # eps
        values, vectors = np.linalg.eigh(np.cov(of.numpy().T, bias=True))
        zca = vectors @ np.diag(values**-0.5) @ vectors.T
        expected = (of.numpy() - of.numpy().mean(0)) @ zca
        assert_close(part, torch.from_numpy(expected), factor=1e8)


def test_one_channel_a_group_is_batch_normalization() -> None:
    # The trace of a 1×1 matrix is the matrix: Newton's iteration starts where it ends.
    x = batch(SHAPES[2]).requires_grad_()
    other = batch(SHAPES[2]).requires_grad_()
    ours, theirs = nw.DecorrelatedBatchNorm2d(6, 6).double(), nn.BatchNorm2d(6).double()
    y, z = ours(x), theirs(other)
    assert_close(y, z)
    g = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y.backward(g)
    z.backward(g)
    assert_close(x.grad, other.grad)


@pytest.mark.parametrize("iterations", [0, 1, 5, 12])
def test_gradients_through_the_iterations(iterations: int) -> None:
    x = batch((9, 6)).requires_grad_()
    mean, matrix = torch.zeros(6).double(), torch.eye(3).double().repeat(2, 1, 1)

    def function(x: torch.Tensor) -> torch.Tensor:
        return decorrelated_batch_norm(x, mean, matrix, training=True, iterations=iterations, moves=False)

    assert torch.autograd.gradcheck(function, (x,))


@pytest.mark.parametrize("samples", [2, 3, 5])
@pytest.mark.parametrize("iterations", [5, 30])
def test_fewer_samples_than_channels(samples: int, iterations: int) -> None:
    layer = nw.DecorrelatedBatchNorm1d(6, iterations=iterations)
    x = batch((samples, 6)).float().requires_grad_()
    y = layer(x)
    expected, _, _ = newton(x.detach().double().numpy(), 1, iterations, 1e-5)
    assert_close(y, torch.from_numpy(expected.T), factor=100)  # eps is 1e-5 of the spread: rounding shows
    y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(1)))
    assert x.grad.isfinite().all()
    assert x.grad.abs().max() < 1e4


def test_identical_channels_stay_finite() -> None:
    layer = nw.DecorrelatedBatchNorm1d(4)
    x = torch.randn(8, 1, generator=torch.Generator().manual_seed(0)).repeat(1, 4).requires_grad_()
    y = layer(x)
    y.backward(torch.randn(8, 4, generator=torch.Generator().manual_seed(1)))
    assert y.isfinite().all()
    assert x.grad.isfinite().all()


def test_products_are_exact_under_autocast() -> None:
    layer, x = nw.DecorrelatedBatchNorm2d(6), batch(SHAPES[2]).float()
    expected = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(x), expected)


def test_inverse_root_of_a_stack() -> None:
    roots = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrices = roots @ roots.mT + torch.eye(4)
    found = inverse_root(matrices, 60)
    assert_close(found @ matrices @ found, torch.eye(4).double().expand(3, 4, 4), factor=100)


@pytest.mark.parametrize(("channels", "groups"), [(6, 1), (64, 1), (65, 5), (96, 2), (128, 2), (67, 67)])
def test_groups_where_nothing_is_said(channels: int, groups: int) -> None:
    layer = nw.DecorrelatedBatchNorm1d(channels)
    assert layer.num_groups == groups
    assert layer.running_whitening.shape == (groups, channels // groups, channels // groups)
    assert list(layer.state_dict()) == [
        "weight",
        "bias",
        "running_mean",
        "num_batches_tracked",
        "running_whitening",
    ]


def test_refusals() -> None:
    with pytest.raises(
        ArgumentError,
        match=r"divisible by `num_groups`\. Got 6 and 4\. hint: use a divisor of 6 \(1, 2, 3, 6\)",
    ):
        nw.DecorrelatedBatchNorm1d(6, 4)
    with pytest.raises(ArgumentError, match=r"`iterations` must be at least 0\. Got -1"):
        nw.DecorrelatedBatchNorm1d(6, iterations=-1)
    with pytest.raises(ArgumentError, match=r"G · D channels\. Got shape \(2, 2, 2\) and 6 channels"):
        decorrelated_batch_norm(torch.ones(3, 6), torch.zeros(6), torch.eye(2).repeat(2, 1, 1))
