"""Group lasso: which weights form a channel, values, gradients, and the step that removes channels."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from normwise.errors import ArgumentError, UnknownNameError
from normwise.regularizers import GroupLasso

MODULES = {
    "linear": lambda: nn.Linear(6, 4),
    "conv": lambda: nn.Conv1d(6, 4, 3),
    "grouped": lambda: nn.Conv2d(6, 4, (3, 2), groups=2),
    "depthwise": lambda: nn.Conv2d(4, 4, 3, groups=4),
    "transposed": lambda: nn.ConvTranspose2d(6, 4, 3),
    "grouped transposed": lambda: nn.ConvTranspose3d(6, 4, 2, groups=2),
}


def module(name: str) -> nn.Module:
    torch.manual_seed(0)
    return MODULES[name]().double()


def by_connection(layer: nn.Module, channels: str) -> list[np.ndarray]:
    """The indices of each channel's weights, found by running the layer: what reads it, or leads to it."""
    size = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
    weight = layer.weight
    position = () if isinstance(layer, nn.Linear) else (1,) * (weight.dim() - 2)
    if position:
        # One position in, the whole kernel's window around: every weight of the channel takes part.
        position = tuple(weight.shape[2:])
    touched = []
    if channels == "output":
        out = layer(torch.rand(1, size, *position, dtype=torch.float64))
        for unit in range(out.shape[1]):
            (grad,) = torch.autograd.grad(out[:, unit].sum(), weight, retain_graph=True)
            touched.append((grad != 0).numpy())
        return touched
    for source in range(size):
        x = torch.zeros(1, size, *position, dtype=torch.float64)
        x[:, source] = 1.0
        (grad,) = torch.autograd.grad(layer(x).sum(), weight)
        touched.append((grad != 0).numpy())
    return touched


@pytest.mark.parametrize("channels", ["output", "input"])
@pytest.mark.parametrize("name", MODULES)
def test_value_and_gradient_follow_the_formula_over_what_is_connected(name: str, channels: str) -> None:
    layer, cotangent = module(name), -1.3
    w = layer.weight.detach().numpy()
    expected, gradient = 0.0, np.zeros_like(w)
    masks = by_connection(layer, channels)
    assert sum(mask.sum() for mask in masks) == w.size
    for mask in masks:
        length = np.sqrt((w[mask] ** 2).sum())
        expected += 0.7 * math.sqrt(mask.sum()) * length
        gradient[mask] += cotangent * 0.7 * math.sqrt(mask.sum()) * w[mask] / length
    value = GroupLasso(0.7, channels=channels)(layer)
    (cotangent * value).backward()
    np.testing.assert_allclose(value.item(), expected, rtol=1e-12)
    np.testing.assert_allclose(layer.weight.grad.numpy(), gradient, rtol=1e-12)


def test_gradients_at_zero_are_zero_to_second_order() -> None:
    layer = nn.Linear(3, 2)
    nn.init.zeros_(layer.weight)
    layer.weight.data[1] = torch.tensor([1.0, 2.0, 2.0])
    (first,) = torch.autograd.grad(GroupLasso(1.0)(layer), layer.weight, create_graph=True)
    assert first[0].tolist() == [0.0, 0.0, 0.0]
    torch.testing.assert_close(first[1], math.sqrt(3) * torch.tensor([1.0, 2.0, 2.0]) / 3)
    (second,) = torch.autograd.grad((first * torch.randn(2, 3)).sum(), layer.weight)
    assert second[0].tolist() == [0.0, 0.0, 0.0]
    assert torch.isfinite(second).all()


def test_gradcheck_to_second_order() -> None:
    holder = nn.ConvTranspose1d(2, 4, 3, groups=2)
    weight = holder.weight.detach().double().requires_grad_()
    del holder.weight

    def value(w: torch.Tensor) -> torch.Tensor:
        holder.weight = w
        return GroupLasso(0.7)(holder)

    assert torch.autograd.gradcheck(value, (weight,))
    assert torch.autograd.gradgradcheck(value, (weight,))


@pytest.mark.parametrize("channels", ["output", "input"])
@pytest.mark.parametrize("name", MODULES)
def test_step_minimises_its_objective_channel_by_channel(name: str, channels: str) -> None:
    layer, lr, strength = module(name), 0.3, 0.2
    start = layer.weight.detach().numpy().copy()
    masks = by_connection(layer, channels)
    GroupLasso(strength, channels=channels).proximal_step_(layer, lr)
    after = layer.weight.detach().numpy()
    # The minimiser lies on the ray through the start: searched there, without its closed form.
    along = np.linspace(0, 1, 100_001)
    for mask in masks:
        length, reach = np.sqrt((start[mask] ** 2).sum()), strength * math.sqrt(mask.sum())
        objective = (length * (along - 1)) ** 2 / (2 * lr) + reach * length * along
        np.testing.assert_allclose(after[mask], along[objective.argmin()] * start[mask], atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_step_removes_short_channels_exactly_and_keeps_the_dtype(dtype: torch.dtype) -> None:
    layer = nn.ConvTranspose2d(3, 2, 2).to(dtype)
    nn.init.constant_(layer.weight, 2.0)
    layer.weight.data[:, 1] = 0.01
    before = layer.weight._version
    GroupLasso(1.0).proximal_step_(layer, lr=0.1)
    assert layer.weight.dtype is dtype
    assert layer.weight._version > before
    assert torch.count_nonzero(layer.weight[:, 1]) == 0
    # Twelve weights of 2: a length of 2·√12, shortened by 0.1·√12.
    torch.testing.assert_close(layer.weight[:, 0], torch.full_like(layer.weight[:, 0], 1.9))
    assert GroupLasso(1.0).sparsity(layer) == 0.5


def test_step_shows_what_is_not_finite() -> None:
    layer = nn.Linear(2, 3)
    layer.weight.data = torch.tensor([[float("nan"), 1.0], [1e-3, 1e-3], [3.0, 4.0]])
    GroupLasso(1.0).proximal_step_(layer, lr=0.1)
    assert layer.weight[0].isnan().all()
    assert layer.weight[1].tolist() == [0.0, 0.0]


def test_sixteen_bit_weights_are_summed_in_float32() -> None:
    layer = nn.Linear(300, 300, bias=False).half()
    nn.init.constant_(layer.weight, 2.0)
    value = GroupLasso(1.0)(layer)
    assert value.dtype is torch.float32
    assert value.item() == pytest.approx(300 * math.sqrt(300) * 2 * math.sqrt(300))  # out of float16's range
    value.backward()
    assert layer.weight.grad.dtype is torch.float16


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_transforms_of_functions() -> None:
    layer = nn.Linear(3, 2, bias=False).double()
    w = layer.weight.detach().clone()
    del layer.weight

    def value(weight: torch.Tensor) -> torch.Tensor:
        layer.weight = weight
        return GroupLasso(1.0)(layer)

    expected = math.sqrt(3) * w / w.norm(dim=1, keepdim=True)
    torch.testing.assert_close(torch.func.grad(value)(w), expected)
    torch.testing.assert_close(
        torch.vmap(value)(torch.stack([w, 2 * w])), torch.stack([value(w), 2 * value(w)])
    )


def test_frozen_weights_stay_and_computed_ones_are_refused() -> None:
    model = nn.Sequential(nn.Linear(2, 2), weight_norm(nn.Linear(2, 2)))
    before = model[0].weight.detach().clone()
    with pytest.raises(ArgumentError, match=r"GroupLasso\.proximal_step_: .*'1\.weight', which is computed"):
        GroupLasso(1.0).proximal_step_(model, lr=0.1)
    assert torch.equal(model[0].weight, before)
    alone = nn.Linear(2, 2).requires_grad_(False)
    frozen = alone.weight.clone()
    GroupLasso(1.0).proximal_step_(alone, lr=0.1)
    assert torch.equal(alone.weight, frozen)


def test_copies_pickles_and_text() -> None:
    penalty, layer = GroupLasso(0.5, channels="input"), nn.Linear(3, 2)
    assert repr(penalty) == "GroupLasso(0.5, channels='input')"
    for twin in (copy.deepcopy(penalty), pickle.loads(pickle.dumps(penalty))):
        assert twin(layer).item() == penalty(layer).item()


def test_bad_input_is_explained() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown `channels` 'out'.*Known: input, output"):
        GroupLasso(1.0, channels="out")
    with pytest.raises(ArgumentError, match="`strength` must be finite and not negative"):
        GroupLasso(-1.0)
    with pytest.raises(ArgumentError, match=r"must have an axis of inputs. Got 'bias' of shape \(2,\)"):
        GroupLasso(1.0, channels="input", parameters=("bias",))(nn.Linear(2, 2))
    with pytest.raises(ArgumentError, match="`lr` must be finite and positive"):
        GroupLasso(1.0).proximal_step_(nn.Linear(2, 2), 0.0)


def test_biases_are_channels_of_their_own() -> None:
    layer = nn.Linear(2, 3)
    torch.testing.assert_close(GroupLasso(2.0, parameters=("bias",))(layer), 2 * layer.bias.abs().sum())
