"""Distributions of the schemes, equal weights across norms, what is left alone, and messages."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from normwise.errors import ArgumentError, UnknownNameError
from normwise.initialize import SCHEMES, initialize_
from normwise.initialize._gain import GAINS

BATCH = torch.randn(32, 12, generator=torch.Generator().manual_seed(5))


def network(norm: str = "none", dtype: torch.dtype = torch.float32) -> nn.Sequential:
    def hidden(i: int, o: int) -> list[nn.Module]:
        linear = nn.Linear(i, o, bias=norm != "batch")
        between = {"batch": [nn.BatchNorm1d(o)], "layer": [nn.LayerNorm(o)]}.get(norm, [])
        return [weight_norm(linear) if norm == "weight" else linear, *between, nn.ReLU()]

    return nn.Sequential(*hidden(12, 20), *hidden(20, 16), nn.Linear(16, 3)).to(dtype)


def weights(model: nn.Module) -> list[Tensor]:
    return [m.weight.detach().clone() for m in model.modules() if isinstance(m, nn.Linear)]


@pytest.mark.parametrize("scheme", [s for s in SCHEMES if s != "lsuv"])
def test_same_seed_gives_the_same_weights_whatever_norms_lie_between(scheme: str) -> None:
    plain = network()
    initialize_(plain, scheme, seed=7, scale=0.5)
    for norm in ("batch", "layer", "weight"):
        other = network(norm)
        initialize_(other, scheme, seed=7, scale=0.5)
        for a, b in zip(weights(plain), weights(other), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
    again = network()
    initialize_(again, scheme, seed=7, scale=0.5)
    assert all(torch.equal(a, b) for a, b in zip(weights(plain), weights(again), strict=True))
    initialize_(again, scheme, seed=8, scale=0.5)
    assert not any(torch.equal(a, b) for a, b in zip(weights(plain), weights(again), strict=True))


def test_layers_of_one_shape_and_neighbouring_seeds_differ() -> None:
    draws = []
    for seed in range(3):
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
        initialize_(model, "gaussian", seed=seed)
        draws += weights(model)
    assert len({tuple(w.flatten().tolist()) for w in draws}) == 9


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_dtypes_start_from_the_same_numbers(dtype: torch.dtype) -> None:
    single, other = network(), network(dtype=dtype)
    initialize_(single, "orthogonal", seed=3)
    initialize_(other, "orthogonal", seed=3)
    for a, b in zip(weights(single), weights(other), strict=True):
        assert b.dtype is dtype
        torch.testing.assert_close(a, b.float(), rtol=2**-8, atol=1e-7)


LAYERS = {
    "linear": (nn.Linear(120, 80), 120.0, 80.0),
    "conv": (nn.Conv2d(8, 24, (3, 5)), 120.0, 360.0),
    "grouped": (nn.Conv1d(24, 48, 5, groups=3), 40.0, 80.0),
    "transposed": (nn.ConvTranspose2d(16, 12, 4, stride=2), 64.0, 48.0),
    "grouped transposed": (nn.ConvTranspose3d(16, 24, 2, groups=2), 64.0, 96.0),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("scheme", ["he", "xavier", "gaussian"])
def test_standard_deviation(name: str, scheme: str) -> None:
    layer, fan_in, fan_out = LAYERS[name]
    initialize_(nn.ModuleList([layer, nn.Linear(1, 1)]), scheme, scale=0.7, seed=1)
    expected = {
        "he": 0.7 * math.sqrt(2 / fan_in),
        "xavier": 0.7 * math.sqrt(2 / (fan_in + fan_out)),
        "gaussian": 0.7,
    }[scheme]
    weight = layer.weight.detach().double()
    n = weight.numel()
    assert abs(weight.std().item() / expected - 1) < 4 / math.sqrt(2 * n)
    assert abs(weight.mean().item()) < 4 * expected / math.sqrt(n)
    z = weight.flatten() / expected
    assert abs(z.pow(4).mean().item() - 3) < 4 * math.sqrt(96 / n)  # a normal, not a uniform (1.8)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(6, 8, 3, groups=2),
        nn.ConvTranspose2d(6, 8, 3, groups=2),
        nn.ConvTranspose1d(5, 30, 2, stride=2),
        nn.Linear(9, 4),
        nn.Linear(4, 9),
    ],
    ids=str,
)
def test_orthogonal_rows_or_columns(layer: nn.Module) -> None:
    initialize_(nn.ModuleList([layer, nn.Linear(1, 1)]), "orthogonal", scale=0.5, seed=2)
    weight = layer.weight.detach().double()
    groups = getattr(layer, "groups", 1)
    if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d):
        weight = torch.cat([part.transpose(0, 1) for part in weight.chunk(groups)])
    factor = 0.5 * math.sqrt(2)
    for part in weight.flatten(1).chunk(groups):
        gram = part @ part.T if part.shape[0] <= part.shape[1] else part.T @ part
        torch.testing.assert_close(
            gram, factor**2 * torch.eye(len(gram), dtype=gram.dtype), atol=1e-6, rtol=0
        )


def test_orthogonal_draw_favours_no_sign() -> None:
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(400)))
    initialize_(model, "orthogonal", seed=0)
    signs = torch.stack([w[0, 0].sign() for w in weights(model)])
    assert abs(signs.mean().item()) < 4 / math.sqrt(400)


def test_the_last_layer_has_gain_one() -> None:
    model = nn.Sequential(nn.Linear(300, 300), nn.ReLU(), nn.Linear(300, 300))
    initialize_(model, "he", seed=0)
    first, last = (w.std().item() * math.sqrt(300) for w in weights(model))
    assert first == pytest.approx(math.sqrt(2), rel=0.02)
    assert last == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid"])
def test_gain_is_the_inverse_root_mean_square(activation: str) -> None:
    z = torch.linspace(-10, 10, 400_001, dtype=torch.float64)
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    f = getattr(nn.functional, activation)(z)
    moment = torch.trapezoid(f.square() * density, z).item()
    assert GAINS[activation] == pytest.approx(moment**-0.5, rel=1e-6)
    model = nn.Sequential(nn.Linear(400, 400), nn.Linear(400, 1))
    initialize_(model, "he", seed=0, activation=activation)
    assert weights(model)[0].std().item() * 20 == pytest.approx(moment**-0.5, rel=0.01)


def test_biases_are_zeroed_and_norms_buffers_and_modes_left_alone() -> None:
    model = network("layer")
    for parameter in model.parameters():
        nn.init.constant_(parameter, 3.0)
    initialize_(model, "he", seed=0)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            assert torch.count_nonzero(module.bias) == 0
        if isinstance(module, nn.LayerNorm):
            assert module.weight.unique().tolist() == module.bias.unique().tolist() == [3.0]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_global_random_state_is_neither_read_nor_changed(scheme: str) -> None:
    model = network("batch")
    torch.manual_seed(1)
    state = torch.get_rng_state()
    initialize_(model, scheme, seed=4, batch=BATCH)
    assert torch.equal(torch.get_rng_state(), state)
    first = weights(model)
    torch.manual_seed(2)
    initialize_(model, scheme, seed=4, batch=BATCH)
    assert all(torch.equal(a, b) for a, b in zip(first, weights(model), strict=True))


def test_shared_weight_is_drawn_once_and_counts() -> None:
    first, second, third = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 5)
    second.weight = first.weight
    plain = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 5))
    tied = nn.Sequential(first, second, third)
    for model in (plain, tied):
        initialize_(model, "he", seed=0)
    assert torch.equal(tied[0].weight, plain[0].weight)
    assert torch.equal(tied[2].weight, plain[2].weight)
    assert torch.count_nonzero(second.bias) == 0


def test_bad_input_is_explained_and_changes_nothing() -> None:
    model = network()
    before = weights(model), model[0].bias.detach().clone()
    with pytest.raises(UnknownNameError, match=r"unknown scheme 'hee'\. Did you mean 'he'"):
        initialize_(model, "hee", seed=0)
    with pytest.raises(UnknownNameError, match=r"unknown activation 'rleu'\. Did you mean 'relu'"):
        initialize_(model, "he", seed=0, activation="rleu")
    with pytest.raises(ArgumentError, match=r"`scale` must be finite and positive\. Got 0"):
        initialize_(model, "he", seed=0, scale=0)
    with pytest.raises(ArgumentError, match=r"`seed` must not be negative\. Got -1"):
        initialize_(model, "he", seed=-1)
    with pytest.raises(ArgumentError, match="'lsuv' needs `batch`"):
        initialize_(model, "lsuv", seed=0)
    with pytest.raises(ArgumentError, match=r"must have a linear layer or a convolution\. Got a ReLU"):
        initialize_(nn.ReLU(), "he", seed=0)
    with pytest.raises(ArgumentError, match="a lazy layer '0'"):
        initialize_(nn.Sequential(nn.LazyLinear(2)), "he", seed=0)
    assert all(torch.equal(a, b) for a, b in zip(before[0], weights(model), strict=True))
    assert torch.equal(model[0].bias.detach(), before[1])
