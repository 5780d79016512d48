"""Dropout that draws in evaluation: what is switched, what is not, and that all comes back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from normwise import layers as nw
from normwise.errors import ArgumentError
from normwise.kernels.registry import use_backend
from normwise.layers import monte_carlo, predict_with_uncertainty
from normwise.testing import assert_close


class DropPath(nn.Module):
    """By the name of its class, as timm has it."""

    def __init__(self, drop_prob: float) -> None:
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(x, self.drop_prob, self.training)


class Attention(nn.Module):
    def __init__(self, dropout: float = 0.5) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, dropout=dropout, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.attention(x, x, x)[0]
        return output


class Recurrent(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.layer(x)[0]
        return output


# Each on (4, 6, 8).
MODELS: dict[str, Callable[[], nn.Module]] = {
    "torch's Dropout": lambda: nn.Dropout(0.5),
    "torch's AlphaDropout": lambda: nn.AlphaDropout(0.5),
    "Dropout": lambda: nw.Dropout(0.5),
    "Dropout1d": lambda: nw.Dropout1d(0.5),
    "FeatureAlphaDropout": lambda: nw.FeatureAlphaDropout(0.5),
    "GaussianDropout": lambda: nw.GaussianDropout(0.5),
    "GaussianNoise": lambda: nw.GaussianNoise(0.5),
    "DropBlock1d": lambda: nw.DropBlock1d(0.5, 2),
    "StochasticDepth": lambda: nw.StochasticDepth(0.5),
    "WordDropout": lambda: nw.WordDropout(0.5),
    "LockedDropout": lambda: nw.LockedDropout(0.5),
    "weight_dropout": lambda: nw.weight_dropout(nn.Linear(8, 8), 0.5),
    "recurrent weight_dropout": lambda: Recurrent(nw.weight_dropout(nn.LSTM(8, 8), 0.5, "weight_hh_l0")),
    "recurrent dropout": lambda: Recurrent(nn.GRU(8, 8, 2, dropout=0.5)),
    "DropPath": lambda: DropPath(0.5),
    "attention": Attention,
    "encoder": lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5, batch_first=True),
    "encoder of layers": lambda: nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5, batch_first=True), 2
    ),
    "BatchNormAct1d": lambda: nw.BatchNormAct1d(6, activation="relu", dropout=0.5),
    "InstanceNormAct1d": lambda: nw.InstanceNormAct1d(6, dropout=0.5, track_running_stats=True),
    "GroupNormAct": lambda: nw.GroupNormAct(2, 6, dropout=0.5),
    "LayerNormAct": lambda: nw.LayerNormAct(8, dropout=0.5),
    "RMSNormAct1d": lambda: nw.RMSNormAct1d(6, dropout=0.5),
}


@pytest.mark.parametrize("name", MODELS)
def test_what_is_switched_draws_and_comes_back(name: str) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.BatchNorm1d(6), MODELS[name]()).eval(), torch.randn(4, 6, 8)
    flags = [(module, module.training, getattr(module, "draws", None)) for module in model.modules()]
    state = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        expected = model(x)
        assert torch.equal(model(x), expected)
        with monte_carlo(model):
            assert not model[0].training
            first, *others = [model(x) for _ in range(8)]  # of four samples, two draws may be alike
            assert not all(torch.equal(first, other) for other in others)
        with pytest.raises(KeyError), monte_carlo(model):
            raise KeyError
        assert torch.equal(model(x), expected)
    for module, training, draws in flags:
        assert module.training is training
        assert getattr(module, "draws", None) is draws
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key


@pytest.mark.parametrize("backend", ["aten", "portable"])
@pytest.mark.parametrize(
    "name", ["BatchNormAct1d", "InstanceNormAct1d", "GroupNormAct", "LayerNormAct", "RMSNormAct1d"]
)
def test_a_fused_layer_drops_and_normalizes_as_in_evaluation(name: str, backend: str) -> None:
    torch.manual_seed(0)
    layer, x = MODELS[name](), torch.randn(4, 6, 8) * 3 + 1
    layer(torch.randn(4, 6, 8))
    expected = layer.eval()(x)
    state = {key: value.clone() for key, value in layer.state_dict().items()}
    with monte_carlo(layer), use_backend(backend):
        output = layer(x)
    kept = output != 0
    assert 0.2 < kept.double().mean().item() < 0.8
    assert_close(output[kept], 2 * expected[kept], factor=2, scale=1.0)
    for key, value in layer.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_nothing_to_draw_is_refused() -> None:
    for model in (
        nn.Linear(3, 2),
        nn.Sequential(nn.Dropout(0.0)),
        nw.BatchNormAct1d(3),
        nn.TransformerEncoderLayer(8, 2, dropout=0.0),
    ):
        with (
            pytest.raises(ArgumentError, match="must have a layer that drops at a positive rate"),
            monte_carlo(model),
        ):
            pass


def test_blocks_may_be_nested() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nw.GaussianNoise()).eval()
    with monte_carlo(model):
        with monte_carlo(model):
            pass
        assert model[0].training
        assert model[1].draws
    assert not model[0].training
    assert not model[1].draws


def test_mean_and_variance_are_those_of_all_samples() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(5, 4), nw.Dropout(0.4), nn.Linear(4, 3)).eval(), torch.randn(6, 5)
    torch.manual_seed(1)
    prediction = predict_with_uncertainty(model, x, samples=20)
    torch.manual_seed(1)
    with torch.no_grad(), monte_carlo(model):
        samples = torch.stack([model(x) for _ in range(20)]).double().numpy()
    assert_close(prediction.mean, torch.from_numpy(samples.mean(axis=0)))
    assert_close(prediction.variance, torch.from_numpy(samples.var(axis=0, ddof=1)))
    mean, variance = prediction
    assert not mean.requires_grad
    assert variance.dtype == torch.float32


def test_the_variance_of_dropout() -> None:
    torch.manual_seed(0)
    # y = 3 · mask / 0.75 has the variance 9 · 0.25 / 0.75 = 3; of 4,000 samples in each of 100 elements the standard
    # error of the mean over elements is 0.0055.
    mean, variance = predict_with_uncertainty(nn.Dropout(0.25), torch.full((100,), 3.0), samples=4000)
    assert abs(variance.mean().item() - 3.0) < 0.022
    # And of the mean sqrt(3 / 400,000) = 0.0027.
    assert abs(mean.mean().item() - 3.0) < 0.011


def test_a_large_mean_does_not_cancel() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nw.GaussianNoise(1.0))
    _, variance = predict_with_uncertainty(model, torch.full((1000,), 1e4), samples=50)
    # 1,000 variances of 50 samples: a standard error of sqrt(2 / 49 / 1000) = 0.0064; float32 rounds 1e4 to 1e-3.
    assert abs(variance.mean().item() - 1.0) < 0.026


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(dtype: torch.dtype) -> None:
    prediction = predict_with_uncertainty(nn.Dropout(0.5), torch.ones(3, dtype=dtype), samples=4)
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    assert prediction.mean.dtype == prediction.variance.dtype == expected


@pytest.mark.parametrize("grad", [True, False])
def test_modes_and_grad_mode_are_as_before(grad: bool) -> None:
    model = nn.Sequential(nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 2))
    model.train()
    model[0].eval()  # frozen
    modes = [module.training for module in model.modules()]
    state = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.set_grad_enabled(grad):
        predict_with_uncertainty(model, torch.randn(4, 5), samples=3)
        with pytest.raises(RuntimeError):
            predict_with_uncertainty(model, torch.randn(4, 7), samples=3)
        assert torch.is_grad_enabled() == grad
    assert [module.training for module in model.modules()] == modes
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_refusals_of_predictions() -> None:
    class Pair(nn.Dropout):
        def forward(self, input: torch.Tensor) -> object:
            return super().forward(input), input

    class Growing(nn.Dropout):
        size = 2

        def forward(self, input: torch.Tensor) -> torch.Tensor:
            self.size += 1
            return torch.ones(self.size)

    class Classes(nn.Dropout):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return super().forward(input).argmax()

    x = torch.randn(3)
    with pytest.raises(
        ArgumentError, match=r"one tensor of floating point numbers. Got tuple. hint: wrap it"
    ):
        predict_with_uncertainty(Pair(), x)
    with pytest.raises(ArgumentError, match=r"Got a tensor of torch.int64"):
        predict_with_uncertainty(Classes(), x)
    with pytest.raises(ArgumentError, match=r"the same shape. Got \(3,\) and \(4,\)"):
        predict_with_uncertainty(Growing(), x)
    with pytest.raises(ArgumentError, match=r"`samples` must be at least 2. Got 1"):
        predict_with_uncertainty(nn.Dropout(), x, samples=1)
    with pytest.raises(ArgumentError, match="must have a layer that drops"):
        predict_with_uncertainty(nn.Linear(3, 2), x)
