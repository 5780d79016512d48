"""Weight normalization as a parametrization: axes, keys, zero vectors, removal, transforms."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from normwise.errors import ArgumentError
from normwise.layers import WeightNorm, remove_weight_norm, weight_norm
from normwise.testing import LayerCase, assert_close, check_layer

# Constructor, input's shape, the axis of output units for torch.
MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "Linear": (lambda: nn.Linear(4, 6), (3, 4), 0),
    "Conv1d": (lambda: nn.Conv1d(4, 6, 3), (3, 4, 7), 0),
    "Conv2d": (lambda: nn.Conv2d(4, 6, 3), (3, 4, 7, 6), 0),
    "Conv2d in groups": (lambda: nn.Conv2d(4, 6, 3, groups=2), (3, 4, 7, 6), 0),
    "Conv2d by channel": (lambda: nn.Conv2d(4, 8, 3, groups=4), (3, 4, 7, 6), 0),
    "Conv3d": (lambda: nn.Conv3d(4, 6, 2), (3, 4, 3, 4, 3), 0),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(4, 6, 3), (3, 4, 7), 1),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 6, 3), (3, 4, 5, 4), 1),
    "ConvTranspose3d": (lambda: nn.ConvTranspose3d(4, 6, 2), (3, 4, 3, 2, 3), 1),
}
GROUPED = {
    "ConvTranspose1d in groups": (lambda: nn.ConvTranspose1d(4, 6, 3, groups=2), (3, 4, 7)),
    "ConvTranspose2d in groups": (lambda: nn.ConvTranspose2d(4, 6, 3, groups=2), (3, 4, 5, 4)),
    "ConvTranspose2d by channel": (lambda: nn.ConvTranspose2d(4, 4, 3, groups=4), (3, 4, 5, 4)),
}
ALL = {**{name: row[:2] for name, row in MODULES.items()}, **GROUPED}


@pytest.mark.parametrize("name", MODULES)
def test_contract_beside_torchs_parametrization(name: str) -> None:
    make, shape, dim = MODULES[name]
    case = LayerCase(
        lambda: weight_norm(make()),
        shape,
        lambda: parametrizations.weight_norm(make(), dim=dim),
        # Torch refuses to pickle any parametrized module; a state_dict is its way.
        refuses={"pickle": RuntimeError},
        changes_shape=True,
    )
    for feature in (
        "twin",
        "dtypes",
        "state_dict",
        "deepcopy",
        "pickle",
        "meta",
        "compile",
        "export",
        "vmap",
    ):
        check_layer(case, feature)


@pytest.mark.parametrize("name", ["Linear", "Conv2d", "ConvTranspose2d", "ConvTranspose2d in groups"])
@pytest.mark.parametrize("feature", ["gradients", "double_backward", "forward_mode"])
def test_derivatives(name: str, feature: str) -> None:
    make, shape = ALL[name]
    check_layer(
        LayerCase(lambda: nn.Sequential(weight_norm(make()), nn.Tanh()), shape, changes_shape=True), feature
    )


@pytest.mark.parametrize("name", ALL)
def test_a_length_scales_the_output_unit_of_its_own(name: str) -> None:
    make, shape = ALL[name]
    torch.manual_seed(0)
    module = make()
    assert isinstance(module.bias, torch.Tensor)
    nn.init.zeros_(module.bias)
    x = torch.randn(shape)
    before = module(x)
    weight_norm(module)
    assert_close(module(x), before, what="output after weight_norm")
    gain = module.parametrizations.weight.original0
    units = before.shape[1]
    assert gain.numel() == units
    with torch.no_grad():
        gain.view(-1)[2] *= 3.0
    expected = before.clone()
    expected[:, 2] *= 3.0
    assert_close(module(x), expected, what="output after one length grew")


@pytest.mark.parametrize("name", ALL)
def test_lengths_are_those_of_the_incoming_weights(name: str) -> None:
    make, _ = ALL[name]
    module = make()
    weight, groups = module.weight.detach().clone(), getattr(module, "groups", 1)
    weight_norm(module)
    gain = module.parametrizations.weight.original0.flatten()
    for unit in range(gain.numel()):
        if "Transpose" in name:
            per_group, inputs = weight.shape[1], weight.shape[0] // groups
            group = unit // per_group
            incoming = weight[group * inputs : (group + 1) * inputs, unit % per_group]
        else:
            incoming = weight[unit]
        assert_close(gain[unit], incoming.norm(), what=f"length of unit {unit}")


@pytest.mark.parametrize("name", ALL)
def test_a_zero_vector_trains_out_of_it(name: str) -> None:
    make, shape = ALL[name]
    torch.manual_seed(0)
    module = weight_norm(make())
    direction = module.parametrizations.weight.original1
    with torch.no_grad():
        direction.zero_()
    output = module(torch.randn(shape))
    assert output.isfinite().all()
    module.parametrizations.weight.original0.data.fill_(1.0)
    (gradient,) = torch.autograd.grad(module(torch.randn(shape)), direction, torch.randn(output.shape))
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0
    with torch.no_grad():
        direction.sub_(0.1 * gradient)
    assert module.weight.abs().max() > 0


def test_torchs_gives_nan_there() -> None:
    theirs = parametrizations.weight_norm(nn.Linear(3, 2))
    with torch.no_grad():
        theirs.parametrizations.weight.original1.zero_()
    assert theirs.weight.isnan().all()


@pytest.mark.parametrize("name", ALL)
def test_removal_leaves_the_weight(name: str) -> None:
    make, shape = ALL[name]
    module = make()
    keys = list(module.state_dict())
    weight_norm(module)
    with torch.no_grad():
        module.parametrizations.weight.original0.mul_(2.0)
    x, expected = torch.randn(shape), None
    expected = module(x)
    assert remove_weight_norm(module) is module
    assert sorted(module.state_dict()) == sorted(keys)
    assert isinstance(module.weight, nn.Parameter)
    assert torch.equal(module(x), expected)
    with pytest.raises(ArgumentError, match="must be weight-normalized"):
        remove_weight_norm(module)


def test_keys() -> None:
    module = weight_norm(nn.Linear(3, 2))
    assert sorted(module.state_dict()) == [
        "bias",
        "parametrizations.weight.original0",
        "parametrizations.weight.original1",
    ]
    old = {"bias": torch.ones(2), "weight_g": torch.full((2, 1), 2.0), "weight_v": torch.eye(3)[:2]}
    module.load_state_dict(copy.deepcopy(old), strict=True)
    assert torch.equal(module.weight.detach(), 2 * torch.eye(3)[:2])
    nested = nn.Sequential(weight_norm(nn.Linear(3, 2)))
    nested.load_state_dict({f"0.{name}": value for name, value in old.items()}, strict=True)
    assert torch.equal(nested[0].weight.detach(), 2 * torch.eye(3)[:2])


def test_assigning_a_weight_sets_length_and_direction() -> None:
    module = weight_norm(nn.Linear(2, 2))
    module.weight = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    assert module.parametrizations.weight.original0.flatten().tolist() == [5.0, 2.0]
    assert_close(module.weight, torch.tensor([[3.0, 4.0], [0.0, 2.0]]))


def test_other_axes_and_other_parameters() -> None:
    whole = weight_norm(nn.Linear(3, 2), dim=None)
    assert whole.parametrizations.weight.original0.numel() == 1
    assert_close(whole.parametrizations.weight.original0.flatten()[0], whole.weight.norm())
    columns = weight_norm(nn.Linear(3, 2), dim=1)
    assert columns.parametrizations.weight.original0.shape == (1, 3)
    recurrent = weight_norm(nn.GRUCell(3, 2), "weight_hh", dim=0)
    assert recurrent(torch.randn(4, 3)).shape == (4, 2)
    assert isinstance(columns.parametrizations.weight[0], WeightNorm)


def test_refusals() -> None:
    module = weight_norm(nn.Linear(3, 2))
    with pytest.raises(ArgumentError, match="must not be weight-normalized yet"):
        weight_norm(module)
    with pytest.raises(ArgumentError, match=r"must have a parameter `weight`.*hint: apply it to each layer"):
        weight_norm(nn.Sequential(nn.Linear(3, 2)))
    with pytest.raises(ArgumentError, match="knows Linear and convolutions"):
        weight_norm(nn.Embedding(3, 2))


@pytest.mark.parametrize("layout", ["channels_last", "transposed"])
def test_the_weight_does_not_depend_on_the_layout_of_the_direction(layout: str) -> None:
    torch.manual_seed(0)
    module = weight_norm(nn.Conv2d(4, 8, 3) if layout == "channels_last" else nn.Linear(5, 6))
    expected = module.weight.detach().clone()
    originals = module.parametrizations.weight
    if layout == "channels_last":
        module.to(memory_format=torch.channels_last)
    else:
        originals.original1.data = originals.original1.data.t().contiguous().t()
    assert not originals.original1.is_contiguous()
    assert_close(module.weight, expected)
    cotangent = torch.randn_like(expected)
    module.weight.backward(cotangent)
    direction = originals.original1.detach().double().requires_grad_()
    norm = direction.flatten(1).norm(dim=1).view(-1, *[1] * (direction.dim() - 1))
    (direction / norm * originals.original0.detach().double()).backward(cotangent.double())
    assert_close(originals.original1.grad, direction.grad)
