"""Batch normalization as a pure function: the layer's numbers, under every transform."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest
import torch
from torch import Tensor
from torch.func import grad, jvp, vjp, vmap

from normwise import functional, layers
from normwise.errors import ArgumentError
from normwise.functional import Statistics, batch_norm_pure
from normwise.testing import assert_close

SHAPES = [(6, 3), (4, 3, 5), (4, 3, 2, 5), (3, 3, 2, 2, 2)]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_three_batches_as_the_layer(shape: tuple[int, ...], momentum: float | None, biased: bool) -> None:
    layer = {2: layers.BatchNorm1d, 3: layers.BatchNorm1d, 4: layers.BatchNorm2d, 5: layers.BatchNorm3d}[
        len(shape)
    ](3, momentum=momentum, biased_running_var=biased).double()
    with torch.no_grad():
        layer.weight.copy_(drawn(3, seed=8))
        layer.bias.copy_(drawn(3, seed=9))
    state: Statistics | None = Statistics.initial(3)
    state = Statistics(state.mean.double(), state.var.double(), *state[2:])
    for seed in range(3):
        x = drawn(*shape, seed=seed) * 3 + 1
        y, state = batch_norm_pure(
            x, state, layer.weight, layer.bias, True, momentum, biased_running_var=biased
        )
        assert_close(y, layer(x), what="output")
    for mine, name in zip(state, ("mean", "var", "batches_tracked", "batches_skipped"), strict=True):
        prefix = "num_" if name.startswith("batches") else "running_"
        assert_close(mine, layer.get_buffer(prefix + name), what=name)
    y, same = batch_norm_pure(x, state, layer.weight, layer.bias, training=False)
    assert same is state
    assert_close(y, layer.eval()(x), what="evaluation")


def _loss(x: Tensor, weight: Tensor, state: Statistics) -> tuple[Tensor, Statistics]:
    y, new = batch_norm_pure(x, state, weight, None)
    return (y * torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view(y.shape)).sum() + y.pow(3).sum(), new


def test_maps_of_gradients_are_a_loops() -> None:
    xs, weights = drawn(4, 6, 3), drawn(4, 3, seed=1)
    state = Statistics.initial(3)
    with_state = grad(_loss, argnums=(0, 1), has_aux=True)
    (dx, dweight), new = vmap(with_state, in_dims=(0, 0, None))(xs, weights, state)
    for k in range(4):
        (one, other), alone = with_state(xs[k], weights[k], state)
        assert_close(dx[k], one, what="dx", scale=1.0)
        assert_close(dweight[k], other, what="dweight", scale=1.0)
        assert_close(new.var[k], alone.var, what="variance")
    assert new.batches.tolist() == [1, 1, 1, 1]


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # in torch itself
def test_forward_mode_agrees_with_reverse_mode() -> None:
    x, v, u = drawn(6, 3), drawn(6, 3, seed=1), drawn(6, 3, seed=2)

    def f(x: Tensor) -> Tensor:
        return batch_norm_pure(x)[0]

    _, tangent = jvp(f, (x,), (v,))
    _, pull = vjp(f, x)
    assert_close((tangent * u).sum(), (v * pull(u)[0]).sum(), what="inner product", scale=1.0)
    torch.autograd.gradcheck(
        lambda x: batch_norm_pure(x, sample_weight=(u[:, 0] > -0.3))[0], x.requires_grad_()
    )


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # in torch itself
@pytest.mark.parametrize("order", list(permutations(("vmap", "jvp"))))
def test_transforms_nest_in_any_order(order: tuple[str, ...]) -> None:
    x, v = drawn(5, 6, 3), drawn(5, 6, 3, seed=1)

    def push(x: Tensor, v: Tensor) -> Tensor:
        return jvp(lambda x: batch_norm_pure(x)[0], (x,), (v,))[1]

    if order[0] == "vmap":
        together: Callable[..., Tensor] = vmap(push)
        tangents = together(x, v)
    else:
        tangents = jvp(vmap(lambda x: batch_norm_pure(x)[0]), (x,), (v,))[1]
    assert_close(tangents, torch.stack([push(a, b) for a, b in zip(x, v, strict=True)]), what="tangent")


def test_a_mean_of_ten_thousand_deviations() -> None:
    x = (drawn(512, 4) + 1e4).float()
    y, _ = batch_norm_pure(x)
    exact = functional.batch_norm(x.double(), None, None, training=True)
    assert_close(y, exact, what="output", factor=0.25)  # 16 ulps


def test_a_batch_that_is_not_finite_is_left_out() -> None:
    state = Statistics.initial(3)
    x = drawn(6, 3).float()
    bad = x.clone()
    bad[2, 1] = torch.inf
    y, new = batch_norm_pure(bad, state)
    assert y[:, 1].isnan().any()
    assert torch.equal(new.mean, state.mean)
    assert torch.equal(new.var, state.var)
    assert (new.batches.item(), new.skipped.item()) == (0, 1)
    assert batch_norm_pure(x, new)[1].batches.item() == 1


def test_evaluation_needs_statistics() -> None:
    with pytest.raises(ArgumentError, match="evaluation needs `statistics`"):
        batch_norm_pure(drawn(4, 3), training=False)
