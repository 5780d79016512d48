"""The data-dependent initialisation: what it achieves, and all that it leaves alone."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import Tensor, nn

from normwise.errors import ArgumentError
from normwise.layers import initialize_weight_norm_, weight_norm
from normwise.testing import assert_close


def outputs(model: nn.Module, batch: Tensor, kinds: tuple[type[nn.Module], ...]) -> list[Tensor]:
    seen: list[Tensor] = []
    handles = [
        module.register_forward_hook(lambda _m, _i, output: seen.append(output.detach()))
        for module in model.modules()
        if isinstance(module, kinds)
    ]
    model(batch)
    for handle in handles:
        handle.remove()
    return seen


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    widths = [5, 16, 16, 3]
    parts: list[nn.Module] = []
    for i, o in itertools.pairwise(widths):
        parts += [weight_norm(nn.Linear(i, o)), nn.Tanh()]
    return nn.Sequential(*parts[:-1])


def cnn() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        weight_norm(nn.Conv2d(2, 4, 3)),
        nn.ReLU(),
        weight_norm(nn.Conv2d(4, 6, 3, groups=2)),
        nn.ReLU(),
        weight_norm(nn.ConvTranspose2d(6, 4, 3, groups=2)),
        nn.ReLU(),
        weight_norm(nn.ConvTranspose2d(4, 3, 3)),
    )


@pytest.mark.parametrize("make", [mlp, cnn])
def test_every_layer_answers_with_mean_zero_and_variance_one(make: object) -> None:
    assert callable(make)
    model = make()
    batch = torch.randn(64, 5) * 3 + 1 if make is mlp else torch.randn(8, 2, 9, 9) * 3 + 1
    names = initialize_weight_norm_(model, batch)
    layers = [m for m in model if hasattr(m, "parametrizations")]
    assert list(names) == [str(i) for i, m in enumerate(model) if hasattr(m, "parametrizations")]
    seen = outputs(model, batch, tuple({type(m) for m in layers}))
    assert len(seen) == len(layers)
    for output in seen:
        axes = tuple(a for a in range(output.dim()) if a != 1)
        var, mean = torch.var_mean(output, axes, correction=0)
        assert_close(mean, torch.zeros_like(mean), what="mean", scale=4.0)
        assert_close(var, torch.ones_like(var), what="variance", scale=4.0)


def test_the_first_layers_numbers_are_the_papers() -> None:
    model, batch = mlp(), torch.randn(64, 5) * 3 + 1
    v = model[0].parametrizations.weight.original1.detach().clone()
    initialize_weight_norm_(model, batch)
    t = batch @ (v / v.norm(dim=1, keepdim=True)).T
    sigma, mu = t.std(0, correction=0), t.mean(0)
    assert_close(model[0].parametrizations.weight.original0.flatten(), 1 / sigma, what="g")
    assert_close(model[0].bias, -mu / sigma, what="b")
    assert torch.equal(model[0].parametrizations.weight.original1, v)


def test_a_layer_without_bias_is_only_scaled() -> None:
    layer = weight_norm(nn.Linear(5, 4, bias=False))
    batch = torch.randn(32, 5) + 2
    initialize_weight_norm_(layer, batch)
    var, mean = torch.var_mean(layer(batch), 0, correction=0)
    assert_close(var, torch.ones(4), what="variance", scale=4.0)
    assert mean.abs().max() > 0.1


class Entangled(nn.Module):
    """A layer used twice, one registered before it is reached, one never reached, beside state of all kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.last = weight_norm(nn.Linear(4, 4))
        self.shared = weight_norm(nn.Linear(4, 4))
        self.unused = weight_norm(nn.Linear(4, 4))
        self.plain = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.shared(self.shared(x).tanh())
        return self.last(self.drop(self.norm(self.plain(x))))


@pytest.mark.parametrize("training", [True, False])
def test_what_it_leaves_alone(training: bool) -> None:
    torch.manual_seed(0)
    model = Entangled().train(training)
    before = copy.deepcopy(model.state_dict())
    batch = torch.randn(32, 4)
    kept, random = batch.clone(), torch.get_rng_state()
    names = initialize_weight_norm_(model, batch)
    assert names == ("shared", "last")
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(batch, kept)
    assert all(module.training == training for module in model.modules())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    lengths = {f"{name}.parametrizations.weight.original0" for name in names}
    assert changed == lengths | {f"{name}.bias" for name in names}


def test_it_is_the_same_each_time() -> None:
    model, batch = mlp(), torch.randn(64, 5)
    initialize_weight_norm_(model, batch)
    once = copy.deepcopy(model.state_dict())
    initialize_weight_norm_(model, batch)
    for name, value in model.state_dict().items():
        assert_close(value, once[name], what=name)


def test_the_first_of_two_uses_counts() -> None:
    torch.manual_seed(0)
    model, batch = Entangled().eval(), torch.randn(64, 4)
    initialize_weight_norm_(model, batch)
    first = model.shared(batch)
    assert_close(first.mean(0), torch.zeros(4), what="mean", scale=4.0)


def test_a_unit_without_spread_keeps_its_length() -> None:
    layer = weight_norm(nn.Linear(3, 2))
    with torch.no_grad():
        layer.parametrizations.weight.original1[1] = 0.0
    initialize_weight_norm_(layer, torch.randn(16, 3))
    assert layer.parametrizations.weight.original0[1].item() == 1.0
    assert all(p.isfinite().all() for p in layer.parameters())


def test_a_batch_of_one_is_refused_and_nothing_changes() -> None:
    model = mlp()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(
        ArgumentError, match=r"layer '0' must see at least 2 values per output unit.*larger batch"
    ):
        initialize_weight_norm_(model, torch.randn(1, 5))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_failure_half_way_changes_nothing() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise KeyError("half way")

    model = nn.Sequential(weight_norm(nn.Linear(3, 3)), nn.BatchNorm1d(3), Broken())
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(KeyError, match="half way"):
        initialize_weight_norm_(model, torch.randn(8, 3))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_several_inputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = weight_norm(nn.Linear(3, 2))

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return self.layer(a + b)

    assert initialize_weight_norm_(Two(), (torch.randn(8, 3), torch.randn(8, 3))) == ("layer",)


def test_other_hooks_see_the_initialised_output() -> None:
    layer, batch = weight_norm(nn.Linear(5, 4)), torch.randn(32, 5) * 3
    seen: list[Tensor] = []
    layer.register_forward_hook(lambda _m, _i, output: seen.append(output.detach()))
    initialize_weight_norm_(layer, batch)
    assert_close(seen[0].std(0, correction=0), torch.ones(4), what="what the hook saw", scale=4.0)
