from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

from normwise.layers import FilterResponseNorm2d, weight_norm
from normwise.models import cnn, mlp
from normwise.monitor import SignalProbe
from normwise.norms import KINDS


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(40, 6, generator=generator), torch.randint(0, 3, (40,), generator=generator)


@pytest.fixture
def plain() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))


def test_gradients_are_those_of_the_loss(
    plain: nn.Sequential, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    inputs, targets = batch
    signals = SignalProbe(plain, inputs, targets, F.cross_entropy).measure(7)
    first = plain[0](inputs)
    second = plain[2](first.relu())
    loss = F.cross_entropy(plain[4](second.tanh()), targets)
    tensors = [first, second, plain[0].weight, plain[2].weight]
    expected = [float(g.square().mean().sqrt()) for g in torch.autograd.grad(loss, tensors)]
    assert signals.step == 7
    assert (*signals.gradient_rms, *signals.weight_gradient_rms) == pytest.approx(expected, rel=1e-5)


def test_activations_are_summarised_layer_by_layer(
    plain: nn.Sequential, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    inputs, targets = batch
    with torch.no_grad():
        plain[0].bias[2] = -100.0  # a unit that is never on
    probe = SignalProbe(plain, inputs, targets, F.cross_entropy)
    signals = probe.measure(0)
    first = plain[0](inputs).relu().detach().numpy()
    before = plain[2](plain[1](plain[0](inputs))).detach().numpy()
    second = np.tanh(before)
    assert probe.layers == ("0", "2")
    assert probe.sizes == (5, 4)
    assert signals.activation_mean == pytest.approx((first.mean(), second.mean()), rel=1e-4)
    assert signals.activation_std == pytest.approx((first.std(), second.std()), rel=1e-4)
    assert signals.dead_fraction == pytest.approx(((first == 0).all(0).mean(), 0.0))
    assert signals.dead_fraction[0] == pytest.approx(0.2)
    for found, rows in zip(signals.correlation, (first[:, [0, 1, 3, 4]], second), strict=True):
        matrix = np.abs(np.corrcoef(rows.T))
        count = len(matrix)
        assert found == pytest.approx((matrix.sum() - count) / (count * (count - 1)), rel=1e-3)
    assert signals.percentiles == pytest.approx(np.percentile(before[:, 0], (15, 50, 85)), rel=1e-4)


def test_channels_are_units_over_samples_and_positions() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(16, 1, 8, 8, generator=generator), torch.zeros(16, dtype=torch.long)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 2))
    probe = SignalProbe(model, inputs, targets, F.cross_entropy)
    signals = probe.measure(0)
    before = model[0](inputs).detach()
    rows = before.relu().permute(1, 0, 2, 3).reshape(3, -1).numpy()
    matrix = np.abs(np.corrcoef(rows))
    assert probe.sizes == (108,)
    assert signals.correlation[0] == pytest.approx((matrix.sum() - 3) / 6, rel=1e-3)
    assert signals.percentiles == pytest.approx(np.percentile(before[:, 0].numpy(), (15, 50, 85)), rel=1e-4)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "before": lambda: mlp((6,), 3, widths=(8, 8, 8), norm="batch"),
    "after": lambda: mlp((6,), 3, widths=(8, 8, 8), norm="batch", position="after", dropout=0.5),
    "layer": lambda: mlp((6,), 3, widths=(8, 8, 8), norm="layer"),
    **{
        norm: lambda norm=norm: mlp((6,), 3, widths=(8, 8, 8), norm=norm)
        for norm, kind in KINDS.items()
        if kind.fits_features and norm not in ("none", "batch", "layer")
    },
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_measurement_changes_nothing_and_repeats(
    name: str, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    torch.manual_seed(3)
    model = NETWORKS[name]()
    model.eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    probe = SignalProbe(model, *batch, F.cross_entropy)
    first, second = probe.measure(0), probe.measure(0)
    assert first == second
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert len(probe.layers) == 3
    assert all(rms is not None and rms > 0 for rms in (*first.gradient_rms, *first.weight_gradient_rms))
    model(batch[0])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_training_and_its_statistics_go_on_as_if_nobody_had_looked(
    batch: tuple[torch.Tensor, torch.Tensor],
) -> None:
    def train(looking: bool) -> nn.Module:
        torch.manual_seed(0)
        model = mlp((6,), 3, widths=(8, 8), norm="batch", dropout=0.3)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        probe = SignalProbe(model, *batch, F.cross_entropy) if looking else None
        for step in range(3):
            optimizer.zero_grad()
            F.cross_entropy(model(batch[0]), batch[1]).backward()
            optimizer.step()
            if probe is not None:
                probe.measure(step)
        return model

    seen, unseen = train(True).state_dict(), train(False).state_dict()
    assert all(torch.equal(seen[key], unseen[key]) for key in unseen)
    assert not torch.equal(unseen["blocks.0.norm.running_mean"], torch.zeros(8))


def test_the_pre_activation_is_what_the_activation_receives(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    model = mlp((6,), 3, widths=(8,), norm="batch")
    low, middle, high = SignalProbe(model, *batch, F.cross_entropy).measure(0).percentiles
    assert low is not None
    assert middle is not None
    assert high is not None
    assert (low, high) == (pytest.approx(-1, abs=0.5), pytest.approx(1, abs=0.5))
    assert low < middle < high


def test_a_normalized_weight_counts_by_its_direction(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.manual_seed(0)
    linear = weight_norm(nn.Linear(6, 5))
    model = nn.Sequential(linear, nn.ReLU(), nn.Linear(5, 3))
    signals = SignalProbe(model, *batch, F.cross_entropy).measure(0)
    F.cross_entropy(model(batch[0]), batch[1]).backward()
    direction = linear.parametrizations.weight.original1.grad
    assert signals.weight_gradient_rms[0] == pytest.approx(float(direction.square().mean().sqrt()), rel=1e-5)


def test_residual_blocks_are_named_by_their_main_path() -> None:
    model = cnn((1, 8, 8), 3, channels=(4, 8), head=(8,), residual=True)
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(8, 1, 8, 8, generator=generator), torch.arange(8) % 3
    probe = SignalProbe(model, inputs, targets, F.cross_entropy)
    assert len(probe.layers) == 3
    assert not any("shortcut" in name for name in probe.layers)


IMAGES = torch.randn(16, 2, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 3


@pytest.mark.parametrize("norm", [norm for norm, kind in KINDS.items() if kind.fits_images])
@pytest.mark.parametrize("residual", [False, True])
def test_every_block_of_a_convolutional_network_is_seen(norm: str, residual: bool) -> None:
    torch.manual_seed(0)
    model = cnn(
        (2, 8, 8),
        3,
        channels=(4, 8),
        head=(6,),
        norm=norm,
        norm_head=KINDS[norm].fits_features,
        residual=residual,
    )
    before = {key: value.clone() for key, value in model.state_dict().items()}
    probe = SignalProbe(model, *IMAGES, F.cross_entropy)
    first, second = probe.measure(0), probe.measure(0)
    assert first == second
    assert probe.layers == ("blocks.0.weighted", "blocks.1.weighted", "blocks.2.weighted")
    assert probe.sizes == (4 * 64, 8 * 16, 6)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    received, returned = [], []
    for block in model.blocks:
        acting = block.norm if KINDS[norm].is_activation and block.norm is not None else block.activation
        acting.register_forward_pre_hook(lambda m, args: received.append(args[0]))
        acting.register_forward_hook(lambda m, args, out: returned.append(out))
    loss = F.cross_entropy(model.train()(IMAGES[0]), IMAGES[1])
    expected = [float(g.square().mean().sqrt()) for g in torch.autograd.grad(loss, received)]
    assert first.gradient_rms == pytest.approx(expected, rel=1e-3)
    assert first.activation_mean == pytest.approx(
        [float(y.detach().mean()) for y in returned], rel=1e-3, abs=1e-6
    )
    assert first.activation_std == pytest.approx(
        [float(y.detach().std(correction=0)) for y in returned], rel=1e-3
    )


def test_without_its_threshold_a_filter_response_leaves_the_activation_to_what_follows() -> None:
    torch.manual_seed(0)
    norm = FilterResponseNorm2d(4, threshold=False)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    probe = SignalProbe(model, *IMAGES, F.cross_entropy)
    assert probe.layers == ("0",)
    assert probe.measure(0).activation_mean[0] == pytest.approx(
        float(norm(model[0](IMAGES[0])).relu().mean().detach())
    )


def test_a_network_without_hidden_layers_has_no_signals(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    signals = SignalProbe(nn.Linear(6, 3), *batch, F.cross_entropy).measure(0)
    assert signals.gradient_rms == ()
    assert signals.percentiles == (None, None, None)


def test_numbers_that_are_not_finite_are_none(
    plain: nn.Sequential, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    probe = SignalProbe(plain, *batch, F.cross_entropy)
    with torch.no_grad():
        plain[0].weight.fill_(float("nan"))
    signals = probe.measure(0)
    assert set(signals.activation_mean) == set(signals.gradient_rms) == {None}
    assert signals.percentiles == (None, None, None)


class _Functional(nn.Module):
    """A network as many repositories write it: activations as functions, in place, arguments by name."""

    def __init__(self, *, in_place: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.parts = nn.ModuleList([nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 3)])
        self.in_place = in_place

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second, last = self.parts
        x = F.relu(first(input=x), inplace=self.in_place)
        x = second(x)
        x = x.relu_() if self.in_place else torch.relu(x)
        x = x + 1
        return last(x)


@pytest.mark.parametrize("in_place", [False, True])
def test_activations_that_are_functions_are_seen_even_in_place(
    in_place: bool, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    model = _Functional(in_place=in_place)
    probe = SignalProbe(model, *batch, F.cross_entropy)
    signals = probe.measure(0)
    first = model.parts[0](batch[0])
    second = model.parts[1](first.relu())
    loss = F.cross_entropy(model.parts[2](second.relu() + 1), batch[1])
    expected = [float(g.square().mean().sqrt()) for g in torch.autograd.grad(loss, [first, second])]
    assert probe.layers == ("parts.0", "parts.1")
    assert signals.gradient_rms == pytest.approx(expected, rel=1e-5)
    means = [float(z.detach().relu().mean()) for z in (first, second)]
    assert signals.activation_mean == pytest.approx(means, rel=1e-5)
    quantiles = np.percentile(second.detach().numpy()[:, 0], (15, 50, 85))
    assert signals.percentiles == pytest.approx(quantiles, rel=1e-4, abs=1e-6)


def test_a_frozen_part_has_no_gradient(
    plain: nn.Sequential, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    plain[0].requires_grad_(False)
    signals = SignalProbe(plain, *batch, F.cross_entropy).measure(0)
    assert signals.gradient_rms[0] is signals.weight_gradient_rms[0] is None
    assert signals.gradient_rms[1] is not None
