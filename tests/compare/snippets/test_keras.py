"""The program for Keras runs as it is, on torch, and its model is the one that was compared."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from normwise.compare.network import count_parameters
from normwise.compare.network_spec import Initialization, Network
from normwise.compare.variant import Variant
from normwise.results import Snippet

ROW, IMAGE = (6,), (2, 8, 8)
MLP = Network(kind="mlp", widths=(16, 16, 8))
CNN = Network(kind="cnn", channels=(16, 32, 32), head=(8,))
Write = Callable[..., tuple[Snippet, Snippet]]
Compared = Callable[..., nn.Module]
Inputs = Callable[[tuple[int, ...]], torch.Tensor]


@pytest.fixture(scope="module", autouse=True)
def keras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Keras on torch, with its settings in a folder of the test's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "torch")
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        import keras

        assert keras.backend.backend() == "torch"
        yield keras


def run(snippet: Snippet, keras: Any, *, fit: bool = True) -> dict[str, Any]:
    keras.utils.set_random_seed(0)
    namespace: dict[str, Any] = {"__name__": "pasted"}
    text = snippet.text.replace("model.fit(", "model.fit(verbose=0, x=").replace("x=X, y,", "x=X, y=y,")
    if not fit:
        text = text[: text.index("model.fit(")]
    exec(compile(text, "pasted", "exec"), namespace)
    return namespace


def channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.movedim(1, -1) if x.dim() == 4 else x


def kernel(module: nn.Module, flattened: tuple[int, ...] | None) -> torch.Tensor:
    """The weight as Keras lays it out; behind a flattened image the inputs come in another order."""
    weight = module.weight.detach()
    if isinstance(module, nn.Conv2d):
        return weight.permute(2, 3, 1, 0)
    if flattened is not None:
        weight = weight.unflatten(1, flattened).movedim(1, -1).flatten(1)
    return weight.T


def norm_state(module: nn.Module) -> list[torch.Tensor]:
    names = ("weight", "bias", "running_mean", "running_var")
    found = [getattr(module, name, None) for name in names]
    return [tensor.detach() for tensor in found if tensor is not None]


def made(layer: Any) -> tuple[bool, int]:
    """A key that brings layers of a kind into the order in which they were made; dense ones come last."""
    number = layer.name.rpartition("_")[2]
    return "dense" in layer.name, int(number) if number.isdecimal() else 0


def copy(model: nn.Module, other: Any, flattened: tuple[int, ...] | None) -> None:
    """Weighted layers and norms are matched apart, each in their order."""
    weighted = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    norms = [
        module
        for module in model.modules()
        if next(module.parameters(recurse=False), None) is not None
        and module not in weighted
        and not isinstance(module, ParametrizationList)
    ]
    layers = sorted((layer for layer in other.layers if layer.weights), key=made)
    dense = [layer for layer in layers if hasattr(layer, "kernel")]
    for module, layer in zip(weighted, (getattr(layer, "layer", layer) for layer in dense), strict=True):
        first = isinstance(module, nn.Linear) and (
            module is weighted[0] or isinstance(weighted[weighted.index(module) - 1], nn.Conv2d)
        )
        layer.kernel.assign(kernel(module, flattened if first else None))
        assert (layer.bias is None) == (module.bias is None)
        if module.bias is not None:
            layer.bias.assign(module.bias.detach())
    for module, layer in zip(norms, [layer for layer in layers if layer not in dense], strict=True):
        for variable, value in zip(layer.weights, norm_state(module), strict=True):
            variable.assign(value)


def assert_same_network(
    pasted: dict[str, Any], model: nn.Module, x: torch.Tensor, flattened: tuple[int, ...] | None = None
) -> None:
    other = pasted["model"]
    trained = sum(int(np.prod(variable.shape)) for variable in other.trainable_variables)
    assert trained == count_parameters(model)
    copy(model, other, flattened)
    with torch.no_grad():
        torch.testing.assert_close(other(channels_last(x), training=False), model(x), rtol=1e-4, atol=1e-4)


def test_the_model_is_the_one_that_was_compared(
    case: tuple[Network, Variant], write: Write, compared: Compared, inputs: Inputs, keras: Any
) -> None:
    network, variant = case
    in_shape = ROW if network.kind == "mlp" else IMAGE
    _, snippet = write(network, variant)
    if not variant.kind.keras:
        assert snippet.text == ""
        return
    flattened = None
    if network.kind == "cnn" and network.reduce == "flatten":
        side = 8 >> (len(network.channels) - 1)
        flattened = (network.channels[-1], side, side)
    assert_same_network(
        run(snippet, keras), compared(network, variant, in_shape, 3), inputs(in_shape), flattened
    )


def test_an_mlp_flattens_images(write: Write, compared: Compared, inputs: Inputs, keras: Any) -> None:
    pasted = run(write(MLP, Variant(norm="batch"), in_shape=IMAGE)[1], keras)
    assert_same_network(pasted, compared(MLP, Variant(norm="batch"), IMAGE, 3), inputs(IMAGE), IMAGE)


def test_one_number_is_regressed(write: Write, keras: Any) -> None:
    pasted = run(write(MLP, Variant(), classes=())[1], keras)
    assert isinstance(pasted["model"].loss, keras.losses.MeanSquaredError)
    assert pasted["model"].output_shape == (None, 1)


def test_a_shared_logit_is_held_against_zero(write: Write, keras: Any) -> None:
    pasted = run(
        write(MLP.model_copy(update={"single_logit": True}), Variant(), classes=("no", "yes"))[1], keras
    )
    model, x = pasted["model"], pasted["X"].astype("float32")
    said = (model(x, training=False).detach().numpy()[:, 0] > 0) == pasted["y"]
    judged = model.evaluate(x, pasted["y"], verbose=0, batch_size=1000)[1]
    assert judged == pytest.approx(said.mean(), abs=1e-6)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize(
    "variant", [Variant(l2=0.3), Variant(l1=0.2, l2=0.3), Variant(weight_decay=0.3)], ids=lambda v: v.name
)
def test_penalties_have_the_compared_strength(name: str, variant: Variant, write: Write, keras: Any) -> None:
    pasted = run(write(MLP, variant, optimizer=name, lr=1e-9)[1], keras)
    model = pasted["model"]
    kernels = [layer.kernel.value.detach() for layer in model.layers if hasattr(layer, "kernel")]
    decoupled = name == "adamw"
    l2 = variant.l2 + (0 if decoupled else variant.weight_decay)
    wanted = sum(variant.l1 * k.abs().sum() + l2 / 2 * k.square().sum() for k in kernels)
    assert float(sum(loss.detach() for loss in model.losses)) == pytest.approx(float(wanted), rel=1e-4)
    if decoupled:
        spared = [v.name for v in model.trainable_variables if not model.optimizer._use_weight_decay(v)]
        assert model.optimizer.weight_decay == pytest.approx(variant.weight_decay)
        assert set(spared) == ({"bias"} if variant.weight_decay else set())


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("scheme", ["he", "xavier", "orthogonal", "lsuv", "gaussian", "own"])
def test_weights_start_with_the_compared_spread_and_no_two_layers_alike(
    scheme: str, activation: str, write: Write, keras: Any
) -> None:
    from normwise.initialize import initialize_
    from normwise.models import mlp

    network = Network(kind="mlp", widths=(200, 200, 200), activation=activation)
    pasted = run(
        write(network, Variant(), Initialization(scheme=scheme), lr=1e-12, in_shape=(200,))[1], keras
    )
    kernels = [layer.kernel.value.detach() for layer in pasted["model"].layers if hasattr(layer, "kernel")]
    assert not torch.equal(kernels[0], kernels[1])
    wanted = mlp(200, 3, widths=network.widths, activation=activation)
    if scheme != "own":
        drawn = "orthogonal" if scheme == "lsuv" else scheme
        initialize_(wanted, drawn, seed=0, activation="linear" if scheme == "lsuv" else activation)
    layers = [module for module in wanted.modules() if isinstance(module, nn.Linear)]
    for found, layer in zip(kernels, layers, strict=True):
        assert found.std().item() == pytest.approx(layer.weight.std().item(), rel=0.1)


def test_augmentation_moves_pictures_in_training_alone(write: Write, keras: Any) -> None:
    pasted = run(write(CNN, Variant(augment=("flip", "shift", "rotate:10", "scale")))[1], keras, fit=False)
    names = [type(layer).__name__ for layer in pasted["model"].layers[:4]]
    assert names == ["RandomFlip", "RandomZoom", "RandomRotation", "RandomTranslation"]
    x = torch.rand(4, 8, 8, 2)
    for layer in pasted["model"].layers[:4]:
        assert torch.equal(layer(x, training=False), x)


def test_noise_is_keras_own_and_mixing_is_named_as_missing(write: Write) -> None:
    snippet = write(MLP, Variant(augment=("noise:0.2", "mixup")))[1]
    assert "layers.GaussianNoise(0.2)" in snippet.text
    assert "without the augmentation mixup" in snippet.note.lower()


def test_normwise_itself_does_not_need_keras() -> None:
    sources = Path(__file__).parents[3] / "src"
    assert not [
        path for path in sources.rglob("*.py") if "\nimport keras" in path.read_text(encoding="utf-8")
    ]
    assert os.environ["KERAS_BACKEND"] == "torch"
