"""Values, gradients and selection of L1, L2 and elastic penalties."""

from __future__ import annotations

import copy
import pickle
from unittest.mock import patch

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from normwise.errors import ArgumentError
from normwise.kernels.cpu import penalty as kernel
from normwise.regularizers import L1, L2, Elastic

STRENGTH = 0.3
RATIO = 0.25
PENALTIES = {
    "l1": (L1(STRENGTH), STRENGTH, 0.0),
    "l2": (L2(STRENGTH), 0.0, STRENGTH),
    "elastic": (Elastic(STRENGTH, l1_ratio=RATIO), STRENGTH * RATIO, STRENGTH * (1 - RATIO)),
}


def network(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.BatchNorm2d(3),
        nn.ConvTranspose2d(3, 2, 2),
        nn.Flatten(),
        nn.Linear(18, 4),
        nn.LayerNorm(4),
    ).to(dtype)


def weights(model: nn.Sequential) -> list[torch.Tensor]:
    return [model[0].weight, model[2].weight, model[4].weight]


def by_formula(ws: list[torch.Tensor], l1: float, l2: float) -> torch.Tensor:
    return sum((l1 * w.abs().sum() + l2 / 2 * w.pow(2).sum() for w in ws), torch.zeros((), dtype=ws[0].dtype))


@pytest.mark.parametrize("name", PENALTIES)
def test_value_and_gradient_follow_the_formula(name: str) -> None:
    penalty, l1, l2 = PENALTIES[name]
    model, cotangent = network(), -1.7
    value = penalty(model)
    (cotangent * value).backward()
    torch.testing.assert_close(value, by_formula(weights(model), l1, l2))
    for w in weights(model):
        torch.testing.assert_close(w.grad, cotangent * (l1 * w.detach().sign() + l2 * w.detach()))
    others = {id(p) for p in model.parameters()} - {id(w) for w in weights(model)}
    assert all(p.grad is None for p in model.parameters() if id(p) in others)


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("cotangent", [1.0, 0.5])
def test_a_kept_graph_gives_the_gradient_again(name: str, cotangent: float) -> None:
    """Of float32 the kernels hand out a gradient that they formed beforehand: the first time alone."""
    penalty, l1, l2 = PENALTIES[name]
    model = network(torch.float32)
    value = cotangent * penalty(model)
    for times in (1, 2, 3):
        value.backward(retain_graph=True)
        for w in weights(model):
            torch.testing.assert_close(w.grad, times * cotangent * (l1 * w.detach().sign() + l2 * w.detach()))


def test_gradients_are_formed_with_the_sums_where_a_graph_is_recorded() -> None:
    model, penalty = network(torch.float32), PENALTIES["l2"][0]
    assert [formed.shape for formed in penalty(model).grad_fn.formed] == [w.shape for w in weights(model)]
    with patch.object(kernel, "sums_and_gradients", side_effect=AssertionError), torch.no_grad():
        assert penalty(model) > 0


def test_a_scaled_loss_keeps_sixteen_bit_gradients_from_vanishing() -> None:
    """The scale goes in before the rounding: 1e-6 times a weight of 0.01 is nothing in float16."""
    layer = nn.Linear(40, 30, bias=False).half()
    nn.init.constant_(layer.weight, 0.01)
    (65536 * L2(1e-6)(layer)).backward()
    want = 65536 * 1e-6 * layer.weight.detach().double()
    torch.testing.assert_close(layer.weight.grad.double(), want, rtol=1e-3, atol=0)


def test_no_gradient_is_formed_beforehand_beside_one_that_is_there() -> None:
    model, penalty = network(torch.float32), PENALTIES["l2"][0]
    penalty(model).backward()
    value = penalty(model)
    assert value.grad_fn.formed is None
    value.backward()
    for w in weights(model):
        torch.testing.assert_close(w.grad, 2 * STRENGTH * w.detach())


def test_weights_that_changed_since_the_sums_are_refused() -> None:
    model = network(torch.float32)
    value = PENALTIES["l2"][0](model)
    with torch.no_grad():
        weights(model)[0].mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()


def test_a_penalty_goes_back_before_the_network_that_it_is_added_to() -> None:
    """So that what it formed beforehand is held no longer than its gradients would be."""
    model, order = network(torch.float32), []
    loss = model(torch.randn(2, 1, 4, 4)).square().sum()
    value = PENALTIES["l2"][0](model)
    value.grad_fn.register_hook(lambda *_: order.append("penalty"))
    loss.grad_fn.next_functions[0][0].register_hook(lambda *_: order.append("network"))
    (loss + value).backward()
    assert order == ["penalty", "network"]


@pytest.mark.parametrize("name", PENALTIES)
def test_gradient_at_zero_is_zero(name: str) -> None:
    layer = nn.Linear(3, 2)
    nn.init.zeros_(layer.weight)
    PENALTIES[name][0](layer).backward()
    assert layer.weight.grad is not None
    assert torch.count_nonzero(layer.weight.grad) == 0


@pytest.mark.parametrize("ratio", [0.0, 0.4, 1.0])
def test_gradcheck_to_second_order(ratio: float) -> None:
    layer = nn.Linear(3, 2, bias=False).double()
    penalty = Elastic(0.7, l1_ratio=ratio)

    def value(w: torch.Tensor) -> torch.Tensor:
        holder = nn.Linear(3, 2, bias=False)
        del holder.weight
        holder.weight = w
        return penalty(holder)

    w = layer.weight.detach().requires_grad_()
    assert torch.autograd.gradcheck(value, (w,))
    assert torch.autograd.gradgradcheck(value, (w,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bit_weights_are_summed_in_float32(dtype: torch.dtype) -> None:
    layer = nn.Linear(300, 300, bias=False).to(dtype)
    nn.init.constant_(layer.weight, 2.0)
    value = L2(1.0)(layer)
    assert value.dtype is torch.float32
    assert value.item() == 180_000.0  # out of float16's range
    (0.001 * value).backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype is dtype


def test_sum_over_many_elements_is_accurate() -> None:
    layer = nn.Linear(2048, 1024, bias=False)
    torch.nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(1))
    exact = layer.weight.detach().double()
    torch.testing.assert_close(L1(1.0)(layer).double(), exact.abs().sum(), rtol=1e-6, atol=0)
    torch.testing.assert_close(L2(2.0)(layer).double(), exact.square().sum(), rtol=1e-6, atol=0)


# The first use of forward mode imports a module of torch that calls torch's own deprecated torch.jit.script.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", PENALTIES)
def test_transforms_of_functions_take_the_formula(name: str) -> None:
    penalty, l1, l2 = PENALTIES[name]
    layer = nn.Linear(3, 2, bias=False).double()
    w, tangent = layer.weight.detach(), torch.randn(2, 3, dtype=torch.float64)

    del layer.weight

    def value(weight: torch.Tensor) -> torch.Tensor:
        layer.weight = weight
        return penalty(layer)

    expected = l1 * w.sign() + l2 * w
    torch.testing.assert_close(torch.func.grad(value)(w), expected)
    _, derivative = torch.func.jvp(value, (w,), (tangent,))
    torch.testing.assert_close(derivative, (expected * tangent).sum())
    batch = torch.stack([w, -2 * w])
    torch.testing.assert_close(torch.vmap(value)(batch), torch.stack([value(w), value(-2 * w)]))


def test_norms_and_biases_are_penalised_only_when_named() -> None:
    model = network()
    assert [name for name, _ in L1(1.0).parameters(model)] == ["0.weight", "2.weight", "4.weight"]
    named = L1(1.0, owners=(nn.LayerNorm, nn.Linear), parameters=("weight", "bias"))
    assert [name for name, _ in named.parameters(model)] == ["4.weight", "4.bias", "5.weight", "5.bias"]


def test_shared_weight_counts_once() -> None:
    first, second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
    second.weight = first.weight
    tied = nn.Sequential(first, second, first)
    assert [name for name, _ in L2(1.0).parameters(tied)] == ["0.weight"]
    torch.testing.assert_close(L2(1.0)(tied), L2(1.0)(nn.Sequential(first)))


def test_weight_normalized_weight_counts_once_by_its_effective_value() -> None:
    torch.manual_seed(0)
    layer = weight_norm(nn.Linear(5, 3))
    model = nn.Sequential(layer, layer)
    assert [name for name, _ in L1(1.0).parameters(model)] == ["0.weight"]
    value = L2(STRENGTH)(model)
    torch.testing.assert_close(value, STRENGTH / 2 * layer.weight.pow(2).sum())
    value.backward()
    # The squared length of a row is its gain squared, whatever the direction.
    gain, direction = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1
    torch.testing.assert_close(gain.grad, STRENGTH * gain.detach())
    torch.testing.assert_close(direction.grad, torch.zeros_like(direction), atol=1e-6, rtol=0)


def test_frozen_weight_counts_and_gets_no_gradient() -> None:
    model = network()
    model[0].weight.requires_grad_(False)
    value = L1(STRENGTH)(model)
    value.backward()
    torch.testing.assert_close(value, by_formula(weights(model), STRENGTH, 0.0))
    assert model[0].weight.grad is None
    assert model[4].weight.grad is not None


def test_strength_zero_and_the_ends_of_the_ratio() -> None:
    model = network()
    assert Elastic(0.0)(model).item() == 0.0
    torch.testing.assert_close(Elastic(2.0, l1_ratio=1.0)(model), L1(2.0)(model))
    torch.testing.assert_close(Elastic(2.0, l1_ratio=0.0)(model), L2(2.0)(model))


def test_penalties_copy_and_pickle() -> None:
    model = network()
    for penalty, _, _ in PENALTIES.values():
        for twin in (copy.deepcopy(penalty), pickle.loads(pickle.dumps(penalty))):
            assert repr(twin) == repr(penalty)
            assert twin(model).item() == penalty(model).item()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: L1(-1.0), "`strength` must be finite and not negative. Got -1.0"),
        (lambda: L2(float("nan")), "L2: `strength`"),
        (lambda: Elastic(1.0, l1_ratio=1.5), "`l1_ratio` must lie between 0 and 1. Got 1.5"),
        (lambda: L1(1.0, parameters="weight"), "non-empty sequence of names"),
        (lambda: L1(1.0, owners=nn.Linear), "non-empty sequence of module classes"),
        (lambda: L1(1.0, owners=()), "non-empty sequence of module classes"),
        (lambda: L1(1.0)(nn.ReLU()), "L1: `model` must have a parameter named 'weight'"),
    ],
)
def test_bad_input_is_explained(build: object, message: str) -> None:
    assert callable(build)
    with pytest.raises(ArgumentError, match=message):
        build()
