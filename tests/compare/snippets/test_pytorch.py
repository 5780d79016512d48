"""The program for PyTorch runs as it is, and its model is the one that was compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from normwise.compare.network import build, count_parameters, initialize
from normwise.compare.network_spec import Initialization, Network
from normwise.compare.training import make_optimizer
from normwise.compare.variant import Variant
from normwise.initialize import initialize_
from normwise.regularizers import sparsity
from normwise.results import Snippet

ROW, IMAGE = (6,), (2, 8, 8)
MLP = Network(kind="mlp", widths=(16, 16, 8))
CNN = Network(kind="cnn", channels=(16, 32, 32), head=(8,))
RESIDUAL = Network(kind="cnn", channels=(16, 16, 32), head=(), residual=True)
Write = Callable[..., tuple[Snippet, Snippet]]
Compared = Callable[..., nn.Module]
Inputs = Callable[[tuple[int, ...]], torch.Tensor]


def run(snippet: Snippet) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "pasted"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        exec(compile(snippet.text, "pasted", "exec"), namespace)
    return namespace


def assert_same_network(model: nn.Module, other: nn.Module, x: torch.Tensor) -> None:
    state, wanted = model.state_dict(), other.state_dict()
    assert [tuple(t.shape) for t in state.values()] == [tuple(t.shape) for t in wanted.values()]
    assert count_parameters(model) == count_parameters(other)
    model.load_state_dict(dict(zip(state, wanted.values(), strict=True)))
    torch.testing.assert_close(model(x), other(x), rtol=1e-5, atol=1e-5)


def test_the_model_is_the_one_that_was_compared(
    case: tuple[Network, Variant], write: Write, compared: Compared, inputs: Inputs
) -> None:
    network, variant = case
    in_shape = ROW if network.kind == "mlp" else IMAGE
    snippet, _ = write(network, variant)
    pasted = run(snippet)
    assert not pasted["model"].training
    assert_same_network(pasted["model"], compared(network, variant, in_shape, 3), inputs(in_shape))


def test_an_mlp_flattens_images(write: Write, compared: Compared, inputs: Inputs) -> None:
    pasted = run(write(MLP, Variant(norm="batch"), in_shape=IMAGE)[0])
    assert_same_network(pasted["model"], compared(MLP, Variant(norm="batch"), IMAGE, 3), inputs(IMAGE))


def test_one_number_is_regressed(write: Write, inputs: Inputs) -> None:
    pasted = run(write(MLP, Variant(), classes=())[0])
    assert isinstance(pasted["loss_fn"], nn.MSELoss)
    assert pasted["y"].is_floating_point()
    assert pasted["loss"].ndim == 0
    assert pasted["model"](inputs(ROW)).shape == (5, 1)


def test_two_classes_may_share_a_logit(write: Write, inputs: Inputs) -> None:
    pasted = run(write(MLP.model_copy(update={"single_logit": True}), Variant(), classes=("no", "yes"))[0])
    assert isinstance(pasted["loss_fn"], nn.BCEWithLogitsLoss)
    assert set(pasted["y"].tolist()) == {0.0, 1.0}
    assert pasted["model"](inputs(ROW)).shape == (5, 1)


@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_the_optimizer_is_the_one_that_was_used(name: str, decay: float, write: Write) -> None:
    variant = Variant(norm="batch", weight_decay=decay)
    pasted = run(write(MLP, variant, optimizer=name, lr=0.003)[0])
    wanted = make_optimizer(name, build(MLP, variant, ROW, 3), 0.003, decay)
    assert type(pasted["optimizer"]) is type(wanted)
    for key in ("lr", "momentum", "betas", "eps", "weight_decay"):
        found, expected = (
            sorted(
                (tuple(parameter.shape), group.get(key))
                for group in optimizer.param_groups
                for parameter in group["params"]
            )
            for optimizer in (pasted["optimizer"], wanted)
        )
        assert found == expected


@pytest.mark.parametrize("scale", [1.0, 0.1])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "gelu"])
@pytest.mark.parametrize("scheme", ["he", "xavier", "orthogonal", "lsuv", "gaussian"])
def test_weights_start_as_they_did(scheme: str, activation: str, scale: float, write: Write) -> None:
    network = Network(kind="mlp", widths=(200, 100), activation=activation)
    start = Initialization(scheme=scheme, scale=scale)
    pasted = run(write(network, Variant(norm="layer"), start, lr=1e-12, in_shape=(300,))[0])
    wanted = build(network, Variant(norm="layer"), (300,), 3)
    initialize_(wanted, scheme, scale=scale, seed=0, batch=pasted["X"], activation=activation)
    spreads, biases = [], []
    for model in (pasted["model"], wanted):
        layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
        spreads.append(torch.stack([layer.weight.detach().std() for layer in layers]))
        biases.append(torch.cat([layer.bias.detach() for layer in layers]))
    torch.testing.assert_close(spreads[0], spreads[1], rtol=0.1, atol=0)
    torch.testing.assert_close(biases[0], biases[1], rtol=0, atol=1e-6)


def test_the_output_layer_under_a_norm_is_the_one_initialized_for_no_activation(write: Write) -> None:
    network = Network(kind="mlp", widths=(400,))
    pasted = run(write(network, Variant(norm="batch", norm_output=True), lr=1e-12)[0])
    deviation = pasted["model"][-2].weight.std().item()
    assert deviation == pytest.approx(400**-0.5, rel=0.1)


def test_a_models_own_draw_is_left_alone(write: Write) -> None:
    text = write(MLP, Variant(), Initialization(scheme="own"))[0].text
    assert "init" not in text
    start = Initialization(scheme="own", scale=0.01)
    scaled = run(write(MLP, Variant(), start, lr=1e-12)[0])["model"]
    assert 0.001 < scaled[0].weight.abs().max().item() * 6**0.5 <= 0.01


def test_weight_normalization_starts_from_the_data(write: Write) -> None:
    pasted = run(write(MLP, Variant(norm="weight"), lr=1e-12)[0])
    first = pasted["model"][0](pasted["X"][:512])
    torch.testing.assert_close(first.std(0, correction=0), torch.ones(16), rtol=1e-3, atol=0)


@pytest.mark.parametrize("norm", ["standardized", "centred", "spectral", "orthogonal"])
@pytest.mark.parametrize("scheme", ["he", "own"])
@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_what_lies_in_weights_starts_as_it_did(norm: str, scheme: str, scale: float, write: Write) -> None:
    network, variant = Network(kind="mlp", widths=(200, 100)), Variant(norm=norm)
    start = Initialization(scheme=scheme, scale=scale)
    pasted = run(write(network, variant, start, lr=1e-12, in_shape=(300,))[0])
    wanted = build(network, variant, (300,), 3)
    initialize(wanted, variant, network, start, seed=0, batch=pasted["X"])
    spreads = [
        torch.stack([m.weight.detach().std() for m in model.eval().modules() if isinstance(m, nn.Linear)])
        for model in (pasted["model"], wanted)
    ]
    torch.testing.assert_close(spreads[0], spreads[1], rtol=0.1, atol=0)


@pytest.mark.parametrize("norm", ["standardized", "centred"])
def test_a_shortcut_of_a_single_weight_stays_plain(norm: str, write: Write) -> None:
    gray, variant = (1, 8, 8), Variant(norm=norm)
    pasted = run(write(RESIDUAL, variant, in_shape=gray)[0])["model"]
    wanted = build(RESIDUAL, variant, gray, 3)
    assert [tuple(t.shape) for t in pasted.state_dict().values()] == [
        tuple(t.shape) for t in wanted.state_dict().values()
    ]


@pytest.mark.parametrize("norm", ["weight", "spectral", "standardized", "centred", "orthogonal"])
def test_l1_makes_exact_zeros_and_joins_the_loss_where_weights_are_computed(norm: str, write: Write) -> None:
    sparse = run(write(MLP, Variant(l1=0.5), lr=0.1)[0])
    assert sparsity(sparse["model"]) > 0.05
    joined = write(MLP, Variant(norm=norm, l1=0.5))[0]
    assert "+ l1(model)" in joined.text
    assert "proximal" not in joined.text
    run(joined)


def test_l2_joins_the_loss(write: Write) -> None:
    weak, strong = (run(write(MLP, Variant(l2=strength), lr=1e-12)[0]) for strength in (0.01, 1.0))
    penalty = sum(p.square().sum().item() for p in strong["model"].parameters() if p.ndim > 1) / 2
    assert strong["loss"].item() - weak["loss"].item() == pytest.approx(0.99 * penalty, rel=1e-2)


def test_augmentation_changes_every_batch(write: Write) -> None:
    pasted = run(write(CNN, Variant(augment=("flip", "shift:0.2")))[0])
    assert pasted["policy"].specs == ("flip:0.5", "shift:0.2")
    assert pasted["inputs"].shape == (500, *IMAGE)


@pytest.mark.parametrize("regression", [False, True])
def test_mixing_changes_targets_too(write: Write, regression: bool) -> None:
    outputs = {"classes": ()} if regression else {}
    snippet, _ = write(MLP, Variant(augment=("noise:0.1", "mixup")), **outputs)
    pasted = run(snippet)
    assert pasted["policy"].specs == ("noise:0.1",)
    assert pasted["mix"].spec == "mixup:0.2"
    assert pasted["targets"].shape == ((500,) if regression else (500, 3))
    alone, _ = write(MLP, Variant(augment=("mixup",)), **outputs)
    assert "policy" not in run(alone)


def test_a_single_logit_is_trained_on_averaged_labels(write: Write) -> None:
    network = Network(kind="mlp", widths=(8,), single_logit=True)
    targets = run(write(network, Variant(augment=("mixup:5",)), classes=("a", "b"))[0])["targets"]
    assert targets.shape == (500,)
    assert ((targets > 0.01) & (targets < 0.99)).any()


def test_every_step_is_trained(write: Write) -> None:
    pasted = run(write(MLP, Variant(), optimizer="adam", steps=5)[0])
    steps = {int(state["step"]) for state in pasted["optimizer"].state.values()}
    assert steps == {6}  # whole epochs of two batches


@pytest.mark.parametrize(
    ("network", "variant", "needed"),
    [
        (MLP, Variant(norm="batch", dropout=0.1), False),
        (RESIDUAL, Variant(norm="group"), False),
        (MLP, Variant(norm="layer"), False),
        (CNN, Variant(norm="layer"), True),
        (MLP, Variant(norm="weight"), True),
        (MLP, Variant(norm="ghost"), True),
        (MLP, Variant(norm="orthogonal"), True),
        (MLP, Variant(weight_decay=0.1), True),
    ],
)
def test_normwise_is_imported_only_for_what_torch_does_not_have(
    network: Network, variant: Variant, needed: bool, write: Write
) -> None:
    assert ("normwise" in write(network, variant)[0].text) == needed
