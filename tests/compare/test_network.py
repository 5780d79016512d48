from pathlib import Path

import pytest
import torch
from torch import nn

from normwise.compare.network import (
    build,
    count_parameters,
    describe,
    initialize,
    notes_of_model,
    try_batch,
    user_model,
)
from normwise.compare.network_spec import Initialization, Network
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
@pytest.mark.parametrize(
    "norm", ["batch", "layer", "group:4", "rms", "ghost:8", "switchable", "decorrelated", "dynamic_tanh"]
)
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


@pytest.mark.parametrize("scheme", ["he", "orthogonal", "own"])
@pytest.mark.parametrize("norm", ["standardized", "centred"])
def test_weights_without_a_mean_start_as_those_of_the_plain_network_without_theirs(
    norm: str, scheme: str
) -> None:
    batch = torch.randn(32, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    found = {}
    for name in ("none", norm):
        variant = Variant(norm=name)
        model = build(CNN, variant, (1, 8, 8), 3, seed=4)
        initialize(model, variant, CNN, Initialization(scheme=scheme, scale=0.3), seed=4, batch=batch)
        found[name] = weights(model)
    for plain, other in list(zip(found["none"], found[norm], strict=True))[:-1]:
        axes = tuple(range(1, plain.dim()))
        torch.testing.assert_close(other, plain - plain.mean(axes, keepdim=True), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scheme", ["he", "orthogonal", "own"])
def test_weights_of_a_fixed_spectrum_start_in_the_direction_of_the_plain_networks(scheme: str) -> None:
    batch = torch.randn(32, 6, generator=torch.Generator().manual_seed(1))
    found = {}
    for norm in ("none", "spectral", "orthogonal"):
        variant = Variant(norm=norm)
        model = build(MLP, variant, (6,), 3, seed=4)
        initialize(model, variant, MLP, Initialization(scheme=scheme, scale=0.3), seed=4, batch=batch)
        found[norm] = weights(model.eval())[:-1]
    for plain, spectral, orthogonal in zip(*found.values(), strict=True):
        assert torch.linalg.matrix_norm(spectral.detach(), 2).item() == pytest.approx(1, abs=0.05)
        torch.testing.assert_close(spectral / spectral.norm(), plain / plain.norm())
        units = orthogonal.T @ orthogonal
        torch.testing.assert_close(units, torch.eye(len(units)), rtol=0, atol=1e-5)
        if scheme == "orthogonal":
            torch.testing.assert_close(
                orthogonal / orthogonal.norm(), plain / plain.norm(), rtol=1e-4, atol=1e-5
            )


def test_a_cnn_on_rows_is_refused_with_the_remedy() -> None:
    with pytest.raises(ArgumentError, match=r"rows of 13 columns.*--network mlp"):
        build(CNN, Variant(), (13,), 3)


@pytest.mark.parametrize(
    ("norm", "layer", "activations"),
    [
        ("instance", "InstanceNorm2d", 3),
        ("global_response", "GlobalResponseNorm2d", 3),
        ("local_response", "LocalResponseNorm", 3),
        ("filter_response", "FilterResponseNorm2d", 1),
        ("evonorm_b0", "EvoNorm2dB0", 1),
        ("evonorm_s0", "EvoNorm2dS0", 1),
    ],
)
def test_what_needs_positions_spares_the_head(norm: str, layer: str, activations: int) -> None:
    model = build(CNN, Variant(norm=norm), (1, 8, 8), 3)
    kinds = [type(module).__name__ for module in model.modules()]
    assert kinds.count(layer) == 2
    assert kinds.count("ReLU") == activations
    assert not any("Norm" in kind for kind in kinds if kind != layer)


def test_what_is_trained_is_counted() -> None:
    model = build(MLP, Variant(), (6,), 3)
    assert count_parameters(model) == (6 * 8 + 8) + 2 * (8 * 8 + 8) + (8 * 3 + 3)


def test_a_network_in_words_has_the_sizes_of_the_built_one() -> None:
    assert describe(MLP, (1, 2, 3), 3) == "multilayer perceptron 6-8-8-8-3, relu"
    text = describe(CNN.model_copy(update={"residual": True}), (1, 8, 8), 3)
    assert "1-4-8" in text
    assert "head 8-3" in text
    assert "residual" in text


ROWS = torch.randn(32, 6, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def own(tmp_path: Path) -> Network:
    """A network of the user's, with a layer that no scheme knows."""
    file = tmp_path / "net.py"
    file.write_text(
        """
import torch
from torch import nn
from normwise.models import norm_layer

class Net(nn.Module):
    def __init__(self, out_features, norm="none", activation="gelu", dropout=0.0, width=8):
        super().__init__()
        self.first = nn.Linear(6, width, bias=norm != "batch")
        self.norm = norm_layer(norm, width)
        self.rnn = nn.GRU(width, width, batch_first=True)
        self.drop = nn.Dropout(dropout)
        self.last = nn.Linear(width, out_features)
        self.activation = activation
        nn.init.normal_(self.last.weight, std=0.5)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        return self.last(self.drop(self.rnn(x[:, None])[0][:, -1]))
"""
    )
    network = Network(kind="model", model=f"{file}:Net", model_args=(("width", "12"),))
    return network.model_copy(update={"fingerprint": user_model(network).fingerprint})


def drawn(network: Network, norm: str, scheme: str, scale: float = 1.0, seed: int = 0) -> torch.nn.Module:
    variant = Variant(norm=norm)
    model = build(network, variant, (6,), 3, seed=seed)
    initialize(model, variant, network, Initialization(scheme=scheme, scale=scale), seed=seed, batch=ROWS)
    return model


def test_a_model_of_the_users_is_built_for_its_variant(own: Network) -> None:
    model = build(own, Variant(norm="layer", dropout=0.3), (6,), 3)
    assert model(ROWS).shape == (32, 3)
    assert (model.first.out_features, model.drop.p) == (12, 0.3)  # type: ignore[union-attr]
    assert isinstance(model.norm, nn.LayerNorm)
    assert model.activation == "gelu"
    asked = build(own.model_copy(update={"activation": "tanh"}), Variant(), (6,), 3)
    assert asked.activation == "tanh"


@pytest.mark.parametrize("network", ["own", "mlp", "cnn"])
def test_the_own_draw_is_paired_by_seed_whatever_the_normalization(
    network: str, request: pytest.FixtureRequest
) -> None:
    chosen = {"mlp": MLP, "cnn": CNN}.get(network) or request.getfixturevalue(network)
    shape = (1, 8, 8) if network == "cnn" else (6,)
    plain, batch, other = (
        weights(build(chosen, Variant(norm=norm), shape, 3, seed=seed))
        for norm, seed in (("none", 1), ("batch", 1), ("none", 2))
    )
    assert all(torch.equal(a, b) for a, b in zip(plain, batch, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(plain, other, strict=True))


def test_the_scale_of_the_own_draw_is_on_linear_weights_alone(own: Network) -> None:
    full, tenth = (dict(drawn(own, "layer", "own", scale).named_parameters()) for scale in (1.0, 0.1))
    scaled = {name for name in full if not torch.equal(full[name], tenth[name])}
    assert scaled == {"first.weight", "last.weight"}
    assert torch.allclose(0.1 * full["last.weight"], tenth["last.weight"])
    assert full["last.weight"].std() > 0.3


@pytest.mark.parametrize("scheme", ["he", "xavier", "orthogonal", "lsuv", "gaussian"])
def test_a_scheme_leaves_the_layers_that_it_does_not_know(own: Network, scheme: str) -> None:
    before, after = drawn(own, "none", "own"), drawn(own, "none", scheme)
    assert torch.equal(before.rnn.weight_hh_l0, after.rnn.weight_hh_l0)  # type: ignore[union-attr]
    assert not torch.equal(before.last.weight, after.last.weight)  # type: ignore[union-attr]
    assert any("GRU" in note for note in notes_of_model(own, (6,), 3))


def test_a_model_without_linear_layers_keeps_its_draw(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(
        "import torch\nfrom torch import nn\nclass Net(nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n        self.w = nn.Parameter(torch.randn(6, 3))\n"
        "    def forward(self, x):\n        return x @ self.w\n"
    )
    network = Network(kind="model", model=str(file))
    own, he = drawn(network, "none", "own"), drawn(network, "none", "he", 0.1)
    assert torch.equal(own.w, he.w)  # type: ignore[arg-type]
    assert torch.equal(own.w, drawn(network, "none", "own", 0.1).w)  # type: ignore[arg-type]


def test_weight_normalization_of_a_users_model_starts_from_its_batch(own: Network) -> None:
    first = drawn(own, "weight", "own").first(ROWS)  # type: ignore[operator]
    assert torch.allclose(first.mean(0), torch.zeros(12), atol=1e-5)
    assert torch.allclose(first.std(0, correction=0), torch.ones(12), atol=1e-3)


def test_a_users_model_in_words_and_in_numbers(own: Network) -> None:
    model = build(own, Variant(), (6,), 3)
    assert describe(own, (6,), 3) == f"net.py:Net, {count_parameters(model):,} parameters, 2 weighted layers"
    assert notes_of_model(MLP, (6,), 3) == ()
    assert notes_of_model(own, (6,), 3)[0] == (
        "Net is given width=12, out_features=3 and each variant's normalization as norm."
    )


@pytest.mark.parametrize(
    "variant", [Variant(norm="batch", position="after"), Variant(norm="batch", norm_output=True)]
)
def test_what_a_users_model_cannot_be_told_is_refused(own: Network, variant: Variant) -> None:
    with pytest.raises(ArgumentError, match=r"net\.py:Net: where it normalizes, the model itself"):
        build(own, variant, (6,), 3)


def test_a_variant_that_the_model_has_no_parameter_for_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("from torch import nn\nnet = nn.Linear(6, 3)")
    network = Network(kind="model", model=f"{tmp_path / 'net.py'}:net")
    with pytest.raises(
        ArgumentError, match=r"a layer must be there that can take 'batch'.*the model's outputs"
    ):
        build(network, Variant(norm="batch"), (6,), 3)
    with pytest.raises(ArgumentError, match=r"must take a parameter `dropout`.*Got the variant 'dropout"):
        build(network, Variant(dropout=0.5), (6,), 3)


def test_a_source_that_changes_while_a_comparison_runs_is_refused(own: Network) -> None:
    changed = own.model_copy(update={"fingerprint": "another"})
    with pytest.raises(ArgumentError, match="the source must stay as it is while a comparison runs"):
        build(changed, Variant(), (6,), 3)
    assert user_model(own) is user_model(own)


def test_a_batch_is_tried_with_what_the_users_model_does(own: Network, tmp_path: Path) -> None:
    targets = torch.arange(32) % 3
    variant = Variant(norm="batch")
    model = build(own, variant, (6,), 3)
    assert try_batch(own, variant, model, ROWS, targets, 3) == ()
    assert all(p.grad is None for p in model.parameters())
    file = tmp_path / "bad.py"
    file.write_text(
        "from torch import nn\nclass Net(nn.Linear):\n    def __init__(self, norm, out_features):\n"
        "        super().__init__(6, out_features)\n"
        "    def forward(self, x):\n        assert len(x) < 30, 'too many'\n        return super().forward(x)"
    )
    bad = Network(kind="model", model=str(file))
    model = build(bad, variant, (6,), 3)
    with pytest.raises(ArgumentError, match=r"Got AssertionError: too many \(bad\.py:6\)"):
        try_batch(bad, variant, model, ROWS, targets, 3)
    with pytest.raises(ArgumentError, match="'batch' builds the same one as 'none'"):
        try_batch(bad, variant, model, ROWS[:20], targets[:20], 3)
    for scheme in ("own", "he"):  # weights that are not the builder's tell nothing of the norm
        initialize(model, variant, bad, Initialization(scheme=scheme, scale=0.1), seed=0, batch=ROWS)
        with pytest.raises(ArgumentError, match="'batch' builds the same one as 'none'"):
            try_batch(bad, variant, model, ROWS[:20], targets[:20], 3)
    with torch.no_grad():  # as the check of a question calls it
        try_batch(MLP, Variant(), build(MLP, Variant(), (6,), 3), ROWS, targets, 3)


def test_a_users_model_is_told_of_a_norm_with_its_own_activation(tmp_path: Path) -> None:
    file = tmp_path / "images.py"
    file.write_text(
        "from torch import nn\nfrom normwise.models import norm_layer\n"
        "def build(norm='none', in_channels=1, out_features=3):\n"
        "    return nn.Sequential(nn.Conv2d(in_channels, 8, 3), norm_layer(norm, 8, dims=2), nn.ReLU(), nn.Flatten(),\n"
        "                         nn.Linear(288, out_features))\n"
    )
    network = Network(kind="model", model=f"{file}:build")
    images, targets = torch.randn(12, 1, 8, 8), torch.arange(12) % 3
    for norm, told in (("evonorm_s0", True), ("global_response", False), ("spectral", False)):
        variant = Variant(norm=norm)
        model = build(network, variant, (1, 8, 8), 3)
        notes = try_batch(network, variant, model, images, targets, 3)
        assert any("the model must leave its activation away behind it" in note for note in notes) == told


def test_one_logit_for_two_classes(own: Network) -> None:
    network = Network(kind="mlp", widths=(8, 4), single_logit=True)
    model = build(network, Variant(norm="batch", norm_output=True), (6,), 2)
    output = model(ROWS)
    assert output.shape == (32, 2)
    assert torch.equal(output[:, 0], torch.zeros(32))
    loss = nn.functional.cross_entropy(output, torch.ones(32, dtype=torch.long))
    logistic = nn.functional.binary_cross_entropy_with_logits(output[:, 1], torch.ones(32))
    assert torch.allclose(loss, logistic)
    assert describe(network, (6,), 2) == "multilayer perceptron 6-8-4-1, relu, one logit for the two classes"
    with pytest.raises(ArgumentError, match=r"is for two classes\. Got 3 classes"):
        build(network, Variant(), (6,), 3)
