"""Weight and bias fitted to data: each channel keeps mean and variance, layer by layer."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import normwise as nw
from normwise.errors import ArgumentError
from normwise.surgery import convert

Stir = Callable[[nn.Module], nn.Module]
IMAGES = (4, 3, 7, 5)
OTHERS = ("group", "group:3", "instance", "layer", "rms", "dynamic_tanh")


def network(**options: object) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 12, 3),
        nn.BatchNorm2d(12, eps=1e-3, momentum=0.2, **options),  # type: ignore[arg-type]
        nn.Tanh(),
        nn.Conv2d(12, 18, 2),
        nw.BatchNormAct2d(18, activation="tanh"),
    )


def evaluated(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        output: Tensor = copy.deepcopy(model).eval()(x)
    return output


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("target", OTHERS)
@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize("number", [1, 3])
def test_moments_of_each_channel_are_those_of_the_old_norm(
    target: str, inplace: bool, number: int, stir: Stir
) -> None:
    old = stir(nn.Sequential(*network()[:4], nn.BatchNorm2d(18), nn.Tanh()))
    with torch.no_grad():
        old[1].weight[3] = 0.0
        old[1].weight[4] *= -1
    given, sign = copy.deepcopy(old), old[1].weight.detach().sign()
    batches = [torch.randn(IMAGES) * (1 + k) + k for k in range(number)]
    new, edits = convert(old, "batch", target, data=batches, inplace=inplace)
    assert [edit.name for edit in edits.changed] == ["1", "4"]
    assert all("fitted" in edit.why for edit in edits)
    for place in (1, 4):
        mean, var = (moments(model[: place + 1], batches) for model in (given, new))
        if target != "rms":
            np.testing.assert_allclose(var[0], mean[0], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(var[1], mean[1], rtol=1e-9, atol=1e-12)
    assert torch.equal(new[1].weight.sign(), sign)
    if not inplace:
        assert same_bits(state_of(old), state_of(given))
        assert new[0].weight is old[0].weight


def moments(model: nn.Module, batches: list[Tensor]) -> tuple[np.ndarray, np.ndarray]:
    values = np.concatenate(
        [
            evaluated(model, batch).movedim(1, -1).reshape(-1, 12 if len(model) == 2 else 18).numpy()
            for batch in batches
        ]
    )
    return values.mean(axis=0), values.var(axis=0)


def test_the_mean_of_the_first_norm_is_matched_by_layer_norms_too(stir: Stir) -> None:
    old = stir(nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 8), nn.LayerNorm(8)))
    batches = [torch.randn(5, 7, 6), torch.randn(2, 7, 6) + 1]
    for target in ("rms", "dynamic_tanh"):
        new, edits = convert(old, "layer", target, data=batches)
        assert type(new[1]) is {"rms": nw.RMSNorm, "dynamic_tanh": nw.DynamicTanh}[target]
        for place in (1, 4):
            rows = [
                torch.cat([evaluated(model[: place + 1], x).reshape(-1, 8) for x in batches])
                for model in (old, new)
            ]
            torch.testing.assert_close(rows[0].var(0), rows[1].var(0), rtol=1e-9, atol=1e-9)
            if target != "rms":
                torch.testing.assert_close(rows[0].mean(0), rows[1].mean(0), rtol=1e-9, atol=1e-9)
        assert ("alpha fitted" in edits["1"].why) is (target == "dynamic_tanh")


@pytest.mark.parametrize("target", ["group:2", "instance", "batch"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_layer_norm_over_positions_becomes_one_over_channels(target: str, count: int) -> None:
    old = nn.Sequential(nn.Conv2d(3, 12, 3), nn.LayerNorm((12, 5, 3)), nn.Tanh(), nn.Conv2d(12, 2, 3))
    with torch.no_grad():
        old[1].weight.normal_(1.0, 0.1)
        old[1].weight[::2].neg_()
        old[1].bias.normal_()
    batches = [torch.randn(IMAGES) + number for number in range(count)]
    new, edits = convert(old, "layer", target, data=batches)
    assert "weight and bias of each position: averaged" in edits["1"].why
    assert "weight and bias fitted to the data" in edits["1"].why
    mean, var = zip(*(moments(model[:2], batches) for model in (old, new)), strict=True)
    np.testing.assert_allclose(mean[1], mean[0], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(var[1], var[0], rtol=1e-9)
    assert (new[1].weight[::2] < 0).all()
    assert (new[1].weight[1::2] > 0).all()


def test_alpha_is_the_nearest_in_least_squares() -> None:
    torch.manual_seed(3)
    old = nn.Sequential(nn.LayerNorm(16))
    x = 4.0 * torch.randn(300, 16)
    new, _ = convert(old, "layer", "dynamic_tanh", data=x)

    def left(alpha: float) -> float:
        wanted, given = old(x).detach().numpy(), np.tanh(alpha * x.numpy())
        slope = ((wanted - wanted.mean(0)) * (given - given.mean(0))).mean(0) / given.var(0)
        return float(((wanted - wanted.mean(0) - slope * (given - given.mean(0))) ** 2).sum())

    chosen = float(new[0].alpha.detach())
    assert abs(chosen - 0.5) > 0.1
    shown = repr(new)
    assert "alpha=0.5 at first" in shown
    assert repr(new.to("meta")) == shown
    assert left(chosen) < left(chosen * 1.5)
    assert left(chosen) < left(chosen / 1.5)


def test_batch_norm_gets_running_statistics_of_the_data() -> None:
    old = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4))
    batches = [torch.randn(IMAGES) + 3, torch.randn(IMAGES) * 2]
    new, edits = convert(old, "group", "batch", data=batches)
    inputs = torch.cat([old[0](x) for x in batches]).movedim(1, -1).reshape(-1, 4).detach().numpy()
    np.testing.assert_allclose(new[1].running_mean.numpy(), inputs.mean(0), rtol=1e-12)
    np.testing.assert_allclose(new[1].running_var.numpy(), inputs.var(0, ddof=1), rtol=1e-12)
    assert new[1].num_batches_tracked == 2
    assert edits["1"].why.startswith("running statistics of the data")
    fresh, edits = convert(old, "group", "batch", example=batches[0])
    assert fresh[1].running_mean.eq(0).all()
    assert "running statistics begin at 0 and 1" in edits["1"].why


def test_a_layer_that_is_called_twice_is_fitted_over_both(stir: Stir) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm = nn.Linear(6, 6), nn.BatchNorm1d(6)

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([y := self.norm(self.first(x)), self.norm(y + x)])

    old = stir(Twice())
    batches = [torch.randn(16, 6), torch.randn(8, 6)]
    new, _ = convert(old, "batch", "dynamic_tanh", data=batches)
    both = [torch.cat([evaluated(m, x).reshape(-1, 6) for x in batches]) for m in (old, new)]
    torch.testing.assert_close(both[0].mean(0), both[1].mean(0), rtol=0.01, atol=0.01)
    torch.testing.assert_close(both[0].var(0), both[1].var(0), rtol=0.01, atol=0.01)


def test_tanh_and_batch_norm_of_features_fit_before_the_activation(stir: Stir) -> None:
    old = stir(nn.Sequential(nn.Linear(6, 16), nw.BatchNormAct1d(16, activation="relu")))
    x = torch.randn(50, 6)
    new, _ = convert(old, "batch", "layer", data=x)
    for model in (old, new):
        model[1].activation = "none"
    before, after = (evaluated(model, x) for model in (old, new))
    torch.testing.assert_close(before.mean(0), after.mean(0), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(before.var(0), after.var(0), rtol=1e-9, atol=1e-9)


def test_masks_have_no_part_in_the_fit(stir: Stir) -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nw.BatchNorm1d(4)

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            y: Tensor = self.norm(x, sample_weight=mask)
            return y

    x, mask = torch.randn(5, 4, 9), (torch.arange(9) < 6).expand(5, 9)
    x[:, :, 6:] += 100.0
    old = stir(Masked())
    new, _ = convert(old, "batch", "instance", data={"x": x, "mask": mask})
    both = [model.eval()(x, mask).detach().movedim(1, -1).reshape(-1, 4) for model in (old, new)]
    torch.testing.assert_close(both[0].mean(0), both[1].mean(0), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(both[0].var(0), both[1].var(0), rtol=1e-9, atol=1e-9)


def test_a_loader_and_a_way_to_run_a_batch() -> None:
    old = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16))
    data = torch.utils.data.TensorDataset(torch.randn(24, 6), torch.zeros(24))
    loader = torch.utils.data.DataLoader(data, batch_size=8)
    _, edits = convert(old, "batch", "layer", data=loader, batches=2)
    assert "fitted on 2 batches" in edits.notes
    batches = [(1.0, torch.randn(8, 6))]
    _, edits = convert(old, "batch", "layer", data=batches, forward=lambda model, batch: model(batch[1]))
    assert "weight and bias fitted to the data" in edits["1"].why


def test_layers_that_no_example_reached_are_named() -> None:
    class Skips(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.BatchNorm1d(16), nn.BatchNorm1d(16)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.used(x)
            return y

    _, edits = convert(Skips(), "batch", "group", data=torch.randn(8, 16))
    assert edits["unused"].why.startswith("not called on the data, and copied; not called on the example")


def test_constant_channels_keep_their_weight() -> None:
    old = nn.Sequential(nn.BatchNorm1d(4)).eval()
    x = torch.randn(20, 4)
    x[:, 2] = 5.0
    new, edits = convert(old, "batch", "dynamic_tanh", data=x)
    assert new[0].weight[2] == 1.0
    torch.testing.assert_close(new(x)[:, 2], old(x)[:, 2])
    assert "but for the weights of 1 channels that are constant there" in edits["0"].why


def test_dynamic_tanh_goes_back(stir: Stir) -> None:
    old = stir(nn.Sequential(nn.Linear(6, 8), nw.DynamicTanh(8)))
    x = torch.randn(30, 6)
    for target in ("layer", "rms"):
        new, edits = convert(old, "dynamic_tanh", target, data=x)
        torch.testing.assert_close(evaluated(new, x).var(0), evaluated(old, x).var(0), rtol=1e-9, atol=1e-9)
        assert "lost: " in edits["1"].why
        assert "alpha" in edits["1"].why


def test_data_that_says_nothing_replaces_nothing() -> None:
    old = nn.Sequential(nn.BatchNorm1d(16))
    new, edits = convert(old, "batch", "group", data=torch.randn(1, 16))
    assert new[0].weight is old[0].weight
    assert "copied, since the data has one value per channel" in edits["0"].why
    with pytest.raises(ArgumentError, match="must be finite"):
        convert(old, "batch", "group", data=torch.full((4, 16), float("nan")))


@pytest.mark.parametrize("target", ["batch", "layer", "instance", "group:4"])
def test_the_measure_is_the_old_layer_with_its_own_number_of_groups(target: str, stir: Stir) -> None:
    old = stir(nn.Sequential(nn.Conv2d(3, 8, 1), nn.GroupNorm(2, 8)))
    batches = [torch.randn(IMAGES) + 2 * torch.randn(4, 3, 1, 1), torch.randn(IMAGES)]
    new, _ = convert(old, "group", target, data=batches)
    both = [
        torch.cat([evaluated(model, x).movedim(1, -1).reshape(-1, 8) for x in batches])
        for model in (old, new)
    ]
    torch.testing.assert_close(both[0].mean(0), both[1].mean(0), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(both[0].var(0), both[1].var(0), rtol=1e-9, atol=1e-9)
