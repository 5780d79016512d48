import pytest
import torch

from normwise.compare.network import build, count_parameters, describe, initialize
from normwise.compare.spec import Initialization, Network
from normwise.compare.variant import Variant
from normwise.errors import ArgumentError

MLP = Network(kind="mlp", widths=(8, 8, 8))
CNN = Network(kind="cnn", channels=(4, 8), head=(8,))


def initialized(network: Network, norm: str, scale: float = 1.0, seed: int = 0) -> torch.nn.Module:
    shape = (6,) if network.kind == "mlp" else (1, 8, 8)
    variant = Variant(norm=norm)
    model = build(network, variant, shape, 3)
    batch = torch.randn(32, *shape, generator=torch.Generator().manual_seed(1))
    initialize(model, variant, network, Initialization(scale=scale), seed=seed, batch=batch)
    return model


def weights(model: torch.nn.Module) -> list[torch.Tensor]:
    return [
        module.weight
        for module in model.modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d) and isinstance(module.weight, torch.Tensor)
    ]


@pytest.mark.parametrize("network", [MLP, CNN], ids=["mlp", "cnn"])
@pytest.mark.parametrize("norm", ["batch", "layer", "group:4", "rms"])
def test_a_seed_draws_the_same_weights_whatever_the_normalization(network: Network, norm: str) -> None:
    plain, normalized = weights(initialized(network, "none")), weights(initialized(network, norm))
    assert len(plain) == len(normalized) == 4
    for a, b in zip(plain, normalized, strict=True):
        assert torch.equal(a, b)
    other = weights(initialized(network, "none", seed=1))
    assert not any(torch.equal(a, b) for a, b in zip(plain, other, strict=True))


def test_the_scale_of_an_initialisation_multiplies_the_hidden_weights() -> None:
    full, tenth = weights(initialized(MLP, "none")), weights(initialized(MLP, "none", scale=0.1))
    for a, b in list(zip(full, tenth, strict=True))[:-1]:
        assert torch.allclose(0.1 * a, b, rtol=1e-5)


def test_weight_normalization_starts_with_normalized_pre_activations() -> None:
    model = initialized(MLP, "weight")
    batch = torch.randn(32, 6, generator=torch.Generator().manual_seed(1))
    first = model.blocks[0].weighted(batch)  # type: ignore[union-attr, index]
    assert torch.allclose(first.mean(0), torch.zeros(8), atol=1e-5)
    assert torch.allclose(first.std(0, correction=0), torch.ones(8), atol=1e-3)


def test_a_cnn_on_rows_is_refused_with_the_remedy() -> None:
    with pytest.raises(ArgumentError, match=r"rows of 13 columns.*--network mlp"):
        build(CNN, Variant(), (13,), 3)


def test_instance_normalization_spares_the_head() -> None:
    model = build(CNN, Variant(norm="instance"), (1, 8, 8), 3)
    kinds = [type(module).__name__ for module in model.modules()]
    assert kinds.count("InstanceNorm2d") == 2
    assert not any("Norm" in kind for kind in kinds if kind != "InstanceNorm2d")


def test_what_is_trained_is_counted() -> None:
    model = build(MLP, Variant(), (6,), 3)
    assert count_parameters(model) == (6 * 8 + 8) + 2 * (8 * 8 + 8) + (8 * 3 + 3)


def test_a_network_in_words_has_the_sizes_of_the_built_one() -> None:
    assert describe(MLP, (1, 2, 3), 3) == "multilayer perceptron 6-8-8-8-3, relu"
    text = describe(CNN.model_copy(update={"residual": True}), (1, 8, 8), 3)
    assert "1-4-8" in text
    assert "head 8-3" in text
    assert "residual" in text
