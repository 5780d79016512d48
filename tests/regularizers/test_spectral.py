"""The spectral penalty against singular values, and the vectors that it keeps."""

from __future__ import annotations

import copy
import gc
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from normwise.errors import ArgumentError
from normwise.regularizers import SpectralPenalty

STRENGTH = 0.3


def layer_of(matrix: np.ndarray | torch.Tensor) -> nn.Linear:
    weight = torch.as_tensor(matrix)
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
    layer.weight.data.copy_(weight)
    return layer


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (1, 5), (5, 1)])
def test_value_and_gradient_are_those_of_the_largest_singular_value(shape: tuple[int, int]) -> None:
    layer, cotangent = layer_of(random(*shape)), -1.7
    value = SpectralPenalty(STRENGTH, iterations=500)(layer)
    (cotangent * value).backward()
    left, sizes, right = np.linalg.svd(layer.weight.detach().numpy())
    np.testing.assert_allclose(value.item(), STRENGTH / 2 * sizes[0] ** 2, rtol=1e-9)
    expected = cotangent * STRENGTH * sizes[0] * np.outer(left[:, 0], right[0])
    np.testing.assert_allclose(layer.weight.grad.numpy(), expected, rtol=1e-6, atol=1e-9)


def test_convolutions_are_matrices_of_units_group_by_group() -> None:
    layer = nn.ConvTranspose2d(4, 6, 3, groups=2).double()
    w = layer.weight.detach().numpy()
    expected = 0.0
    for g in range(2):
        rows = [np.concatenate([w[2 * g + i, o].ravel() for i in range(2)]) for o in range(3)]
        expected += np.linalg.svd(np.stack(rows), compute_uv=False)[0] ** 2
    np.testing.assert_allclose(SpectralPenalty(2.0, iterations=500)(layer).item(), expected, rtol=1e-9)


def test_one_multiplication_a_step_keeps_up_with_a_turning_weight() -> None:
    penalty, noise = SpectralPenalty(2.0), 0.1 * random(12, 20).numpy()
    layer, first = layer_of(noise), None
    for step in range(100):
        angle, right = 0.02 * step, np.zeros(20)
        right[:2] = np.cos(angle), np.sin(angle)
        matrix = 3 * np.outer(np.full(12, 12**-0.5), right) + noise
        layer.weight.data.copy_(torch.as_tensor(matrix))
        value = penalty(layer).item()
        _, sizes, directions = np.linalg.svd(matrix)
        assert 0.99 * sizes[0] ** 2 < value <= sizes[0] ** 2 * (1 + 1e-12)
        first = directions[0] if first is None else first
    assert ((matrix @ first) ** 2).sum() < 0.5 * value  # the vector of the first step would not do


def test_zero_weight_has_zero_gradient_and_is_followed_when_it_grows() -> None:
    layer, penalty = layer_of(torch.zeros(3, 4, dtype=torch.float64)), SpectralPenalty(1.0)
    penalty(layer).backward()
    assert torch.count_nonzero(layer.weight.grad) == 0
    layer.weight.data.copy_(random(3, 4))
    for _ in range(200):
        value = penalty(layer)
    exact = np.linalg.svd(layer.weight.detach().numpy(), compute_uv=False)[0]
    np.testing.assert_allclose(value.item(), 0.5 * exact**2, rtol=1e-9)


def test_vectors_persist_are_apart_by_module_and_go_with_it() -> None:
    penalty, layer, other = SpectralPenalty(1.0), layer_of(random(9, 9)), layer_of(random(9, 9, seed=1))
    first = penalty(layer).item()
    fresh = SpectralPenalty(1.0)(other).item()
    assert penalty(layer).item() > first
    assert penalty(other).item() == fresh
    assert len(penalty._vectors._of) == 2
    del layer
    gc.collect()
    assert len(penalty._vectors._of) == 1


def test_global_random_state_is_left_alone() -> None:
    layer, state = layer_of(random(3, 3)), torch.get_rng_state()
    SpectralPenalty(1.0)(layer)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_call_in_inference_mode_or_a_transform_leaves_nothing_behind() -> None:
    penalty, layer = SpectralPenalty(1.0), layer_of(random(3, 3))
    with torch.inference_mode():
        penalty(layer)
    penalty(layer).backward()

    holder = layer_of(random(3, 3))
    w = holder.weight.detach().clone()
    del holder.weight

    def value(weight: torch.Tensor) -> torch.Tensor:
        holder.weight = weight
        return penalty(holder)

    batch = torch.vmap(value)(torch.stack([w, 2 * w]))
    torch.testing.assert_close(batch, value(w) * torch.tensor([1.0, 4.0], dtype=torch.float64))
    fresh = SpectralPenalty(1.0)(layer_of(w))
    torch.testing.assert_close(batch[0], fresh)


def test_weight_normalized_weight_counts_by_its_effective_value() -> None:
    layer = weight_norm(nn.Linear(5, 3))
    penalty = SpectralPenalty(2.0, iterations=200)
    exact = np.linalg.svd(layer.weight.detach().numpy(), compute_uv=False)[0]
    value = penalty(layer)
    assert value.item() == pytest.approx(exact**2, rel=1e-5)
    value.backward()
    assert layer.parametrizations.weight.original0.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bit_weights_are_multiplied_in_float32(dtype: torch.dtype) -> None:
    layer = nn.Linear(200, 200, bias=False).to(dtype)
    nn.init.constant_(layer.weight, 4.0)
    value = SpectralPenalty(2.0)(layer)
    assert value.dtype is torch.float32
    assert value.item() == pytest.approx(800.0**2)  # out of float16's range
    value.backward()
    assert layer.weight.grad.dtype is dtype


def test_copies_and_pickles_start_anew() -> None:
    penalty, layer = SpectralPenalty(0.5), layer_of(random(8, 8))
    first = penalty(layer).item()
    penalty(layer)
    for twin in (copy.deepcopy(penalty), pickle.loads(pickle.dumps(penalty))):
        assert repr(twin) == "SpectralPenalty(0.5, iterations=1)"
        assert twin(layer).item() == first


@pytest.mark.parametrize("iterations", [0, 1.5, True])
def test_bad_input_is_explained(iterations: object) -> None:
    with pytest.raises(ArgumentError, match="SpectralPenalty: `iterations` must be a whole number"):
        SpectralPenalty(1.0, iterations=iterations)
