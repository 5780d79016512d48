"""Batch normalization with weights of samples and positions, and of several models side by side."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from normwise.errors import ArgumentError
from normwise.functional import batch_norm, dropout
from normwise.kernels.registry import recorded
from normwise.testing import assert_close

BACKENDS = [("cpu", ("portable", "native")), ("aten", ("aten",))]


def values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 2 + 1


def step(x: Tensor, *args: Tensor, cotangent: Tensor, **options: object) -> tuple[Tensor, ...]:
    x = x.detach().clone().requires_grad_()
    mean, var, weight, bias = args
    leaves = [x, weight.detach().clone().requires_grad_(), bias.detach().clone().requires_grad_()]
    y = batch_norm(x, mean, var, *leaves[1:], training=True, **options)  # type: ignore[arg-type]
    return y.detach(), *torch.autograd.grad(y, leaves, cotangent)


@pytest.mark.parametrize(("backend", "ran"), BACKENDS)
@pytest.mark.parametrize("last", [False, True])
def test_padding_changes_nothing(backend: str, ran: tuple[str, ...], last: bool) -> None:
    x, cotangent = values(4, 6, 9), values(4, 6, 9, seed=1)
    real = torch.ones(4, 9)
    real[:, 7:] = 0
    cotangent[:, :, 7:] = 0  # the loss does not look at padding either
    if last:
        x = x.movedim(1, -1).contiguous().movedim(-1, 1)
    state = [torch.zeros(6), torch.ones(6), values(6, seed=2), values(6, seed=3)]
    plain = [t.clone() for t in state]
    with recorded() as choices:
        padded = step(x, *state, cotangent=cotangent, sample_weight=real, backend=backend)
    short = step(
        x[:, :, :7].contiguous(), *plain, cotangent=cotangent[:, :, :7].contiguous(), backend=backend
    )
    assert choices[0].backend in ran
    for name, a, b in zip(("output", "input", "weight", "bias"), padded, short, strict=True):
        assert_close(a[:, :, :7] if a.dim() == 3 else a, b, what=name, scale=4.0)
    assert torch.equal(padded[1][:, :, 7:], torch.zeros(4, 6, 2))
    for a, b in zip(state[:2], plain[:2], strict=True):
        assert_close(a, b, what="running statistics")


def test_both_ways_agree_on_any_weights() -> None:
    x, cotangent, weights = values(5, 7, 3, 4), values(5, 7, 3, 4, seed=1), values(5, 3, 4, seed=4).abs()
    results = []
    for backend in ("cpu", "aten"):
        state = [torch.zeros(7), torch.ones(7), values(7, seed=2), values(7, seed=3)]
        results.append(
            (*step(x, *state, cotangent=cotangent, sample_weight=weights, backend=backend), *state[:2])
        )
    for a, b in zip(*results, strict=True):
        assert_close(a, b, scale=4.0)


@pytest.mark.parametrize(("backend", "ran"), BACKENDS)
@pytest.mark.parametrize("shape", [(8, 6), (5, 6, 7), (4, 6, 3, 3)])
def test_stacked_models_are_as_if_alone(shape: tuple[int, ...], backend: str, ran: tuple[str, ...]) -> None:
    models = 3
    x, cotangent = values(models, *shape), values(models, *shape, seed=1)
    state = [
        torch.zeros(models, 6),
        torch.ones(models, 6),
        values(models, 6, seed=2),
        values(models, 6, seed=3),
    ]
    alone = [[t[k].clone() for t in state] for k in range(models)]
    with recorded() as choices:
        together = step(x, *state, cotangent=cotangent, stacked=True, activation="relu", backend=backend)
    assert choices[0].backend in ran
    for k in range(models):
        single = step(x[k], *alone[k], cotangent=cotangent[k], activation="relu", backend=backend)
        for a, b in zip(together, single, strict=True):
            if backend == "cpu":
                assert torch.equal(a[k], b)
            assert_close(a[k], b, scale=4.0)
        for a, b in zip(state[:2], alone[k][:2], strict=True):
            assert_close(a[k], b, what="running statistics")


def test_stacked_dropout_draws_a_seed_for_each_model() -> None:
    x = torch.ones(3, 50, 7)
    together = dropout(x, 0.3, stacked=3, generator=torch.Generator().manual_seed(1), backend="cpu")
    generator = torch.Generator().manual_seed(1)
    for k in range(3):
        assert torch.equal(together[k], dropout(x[k], 0.3, generator=generator, backend="cpu"))
    assert not torch.equal(together[0], together[1])


def test_what_is_refused() -> None:
    x = torch.ones(4, 3, 5)
    with pytest.raises(ArgumentError, match=r"`sample_weight` must be \(N, \*\)"):
        batch_norm(x, None, None, training=True, sample_weight=torch.ones(3))
    with pytest.raises(ArgumentError, match="`sample_weight` is for one model"):
        batch_norm(x, None, None, training=True, sample_weight=torch.ones(4), stacked=True)
    with pytest.raises(ArgumentError, match=r"stacked input must have the axes \(K, N, C, \*\)"):
        batch_norm(torch.ones(4, 3), None, None, training=True, stacked=True)
    with pytest.raises(ArgumentError, match="must hold `stacked` = 3 models"):
        dropout(x, 0.5, stacked=3)
