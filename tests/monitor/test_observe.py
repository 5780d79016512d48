"""What one pass shows of each layer, against numbers by hand; the model is as before."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

import normwise as nw
from normwise.monitor.observe import FLAT, observe

ROWS = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
CLASSES = torch.arange(64) % 3


def network(activation: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), activation, nn.Linear(8, 8), activation, nn.Linear(8, 3))


@pytest.mark.parametrize(
    "activation", [nn.ReLU(), nn.ReLU(inplace=True), nn.Tanh(), nn.Sigmoid(), nn.GELU(), nn.LeakyReLU(0.3)]
)
def test_the_numbers_of_a_layer(activation: nn.Module) -> None:
    model = network(activation)
    seen = observe(model, ROWS, CLASSES, F.cross_entropy)
    first = seen.layers[0]
    z = model[0](ROWS).detach().requires_grad_()
    a = copy.deepcopy(activation)(z.clone())
    slope = torch.autograd.grad(a.sum(), z, retain_graph=True)[0].abs()
    loss = F.cross_entropy(model[4](copy.deepcopy(activation)(model[2](a))), CLASSES)
    (gradient,) = torch.autograd.grad(loss, z)
    assert (first.name, first.kind, first.units, first.fan_in) == ("0", "Linear", 8, 6)
    expected = {
        "input_rms": ROWS.square().mean().sqrt(),
        "weight_rms": model[0].weight.square().mean().sqrt(),
        "output_std": z.std(correction=0),
        "pre_mean": z.mean(),
        "pre_std": z.std(correction=0),
        "mean": a.mean(),
        "std": a.std(correction=0),
        "dead": (slope.amax(dim=0) <= 1e-6).float().mean(),
        "flat": (slope < FLAT).float().mean(),
        "gradient_rms": gradient.square().mean().sqrt(),
    }
    for name, value in expected.items():
        assert getattr(first, name) == pytest.approx(value.item(), rel=1e-4, abs=1e-7), name
    assert seen.loss == pytest.approx(loss.item(), rel=1e-5)
    assert seen.output_shape == (64, 3)
    assert [layer.activation for layer in seen.layers[:2]] == [first.activation] * 2
    assert seen.layers[2].activation == ""
    assert len(seen.hidden) == 2
    weight_gradient = torch.autograd.grad(F.cross_entropy(model(ROWS.clone()), CLASSES), model[0].weight)[0]
    assert first.weight_gradient_rms == pytest.approx(weight_gradient.square().mean().sqrt().item(), rel=1e-4)


def test_dead_units_are_units_and_not_entries() -> None:
    model = network(nn.ReLU())
    with torch.no_grad():
        model[0].bias[:2] = -100.0
    assert observe(model, ROWS, CLASSES, F.cross_entropy).layers[0].dead == 0.25


def test_images_functions_and_a_norm_before_the_activation() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(F.relu(self.norm(self.conv(x))).mean((2, 3)))

    torch.manual_seed(0)
    model, images = Net(), torch.randn(8, 2, 5, 5)
    seen = observe(model, images, torch.arange(8) % 3, F.cross_entropy)
    assert [(layer.name, layer.activation) for layer in seen.layers] == [("conv", "relu"), ("head", "")]
    assert seen.layers[0].pre_std == pytest.approx(1.0, rel=1e-2)
    assert seen.layers[0].output_std == pytest.approx(model.conv(images).std(correction=0).item(), rel=1e-4)


def test_the_model_is_as_before() -> None:
    model = nw.mlp(6, 3, norm="batch", dropout=0.3).eval()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    observe(model, ROWS, CLASSES, F.cross_entropy)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_without_gradients_and_with_frozen_weights() -> None:
    model = network(nn.ReLU())
    plain = observe(model, ROWS, CLASSES, F.cross_entropy, training=False, gradients=False)
    assert all(layer.gradient_rms is None and layer.weight_gradient_rms is None for layer in plain.layers)
    model[0].requires_grad_(False)
    frozen = observe(model, ROWS, CLASSES, F.cross_entropy).layers
    assert frozen[0].weight_gradient_rms is None
    assert frozen[2].weight_gradient_rms is not None


def test_what_is_not_finite_is_said() -> None:
    model = network(nn.ReLU())
    assert observe(model, ROWS, CLASSES, F.cross_entropy).finite
    with torch.no_grad():
        model[4].weight[0, 0] = math.inf
    assert not observe(model, ROWS, CLASSES, F.cross_entropy).finite
