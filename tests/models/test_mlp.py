"""The multilayer perceptron: shapes, norms, biases, initial weights, messages."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from normwise import layers
from normwise.errors import ArgumentError, UnknownNameError
from normwise.models import ACTIVATIONS, NORMS, POSITIONS, Block, mlp
from normwise.norms import KINDS

CANCELLING = ["batch", "batch_renorm", "ghost", "mean_only", "decorrelated"]
IN_WEIGHTS = {
    "weight": "WeightNorm",
    "spectral": "SpectralNorm",
    "standardized": "WeightStandardization",
    "centred": "CentredWeight",
    "orthogonal": "Orthogonal",
}
DENSE_NORMS = [norm for norm in NORMS if KINDS[norm].fits_features]


@pytest.mark.parametrize("norm", [*DENSE_NORMS, "group:2", "ghost:3", "decorrelated:4", "batch_renorm:7"])
@pytest.mark.parametrize("position", POSITIONS)
def test_shapes_and_gradients_everywhere(norm: str, position: str) -> None:
    model = mlp((2, 3), 4, widths=(8, 16), norm=norm, position=position, dropout=0.2, activation="tanh")
    y = model(torch.randn(6, 2, 3))
    assert y.shape == (6, 4)
    y.backward(torch.randn(6, 4))
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.count_nonzero(parameter.grad) > 0, name


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_is_the_one_that_was_named(activation: str) -> None:
    model = mlp(3, 2, widths=(4,), activation=activation)
    x = torch.randn(5, 3)
    block = model.blocks[0]
    expected = model.output(getattr(nn.functional, activation)(block.weighted(x)))
    torch.testing.assert_close(model(x), expected)
    block.activation.register_forward_hook(lambda m, inputs, out: seen.append(torch.equal(inputs[0], before)))
    seen: list[bool] = []
    before = block.weighted(x)
    model(x)
    assert seen == [True]


@pytest.mark.parametrize("norm", DENSE_NORMS)
def test_output_is_normalized_only_when_asked(norm: str) -> None:
    plain = mlp(3, 4, widths=(16,), norm=norm)
    assert plain.output_norm is None
    assert isinstance(plain.output, nn.Linear)
    assert plain.output.bias is not None
    assert not is_parametrized(plain.output)
    asked = mlp(3, 4, widths=(16,), norm=norm, norm_output=True)
    if KINDS[norm].weights:
        assert is_parametrized(asked.output, "weight")
    elif norm != "none":
        x = torch.randn(32, 3)
        assert asked.output_norm is not None
        features = asked.blocks[0](x)
        torch.testing.assert_close(asked(x), asked.output_norm(asked.output(features)))
    assert (asked.output.bias is None) == (norm in CANCELLING)


@pytest.mark.parametrize("norm", DENSE_NORMS)
@pytest.mark.parametrize("position", POSITIONS)
def test_only_a_bias_that_the_norm_would_cancel_is_left_out(norm: str, position: str) -> None:
    model = mlp(3, 4, widths=(16, 16), norm=norm, position=position)
    for block in model.blocks:
        assert isinstance(block, Block)
        assert (block.weighted.bias is None) == (norm in CANCELLING and position == "before")


@pytest.mark.parametrize("norm", CANCELLING)
def test_a_bias_that_is_left_out_would_have_changed_nothing(norm: str) -> None:
    layer = mlp(3, 4, widths=(16,), norm=norm).blocks[0].norm
    x, bias = torch.randn(32, 16), torch.randn(16)
    torch.testing.assert_close(layer(x + bias), layer(x), rtol=1e-4, atol=1e-4)


def test_the_mean_over_channels_in_switchable_normalization_would_not_cancel_a_bias() -> None:
    layer = mlp(3, 4, widths=(16,), norm="switchable").blocks[0].norm
    x, bias = torch.randn(32, 16), torch.randn(16)
    assert (layer(x + bias) - layer(x)).abs().max() > 0.1


@pytest.mark.parametrize("norm", IN_WEIGHTS)
def test_what_lies_in_weights_lies_on_the_hidden_layers(norm: str) -> None:
    model = mlp(3, 4, widths=(5, 6), norm=norm)
    for block in model.blocks:
        assert type(block.weighted.parametrizations.weight[0]).__name__ == IN_WEIGHTS[norm]
        assert block.norm is None
    assert not is_parametrized(model.output)


@pytest.mark.parametrize("norm", ["standardized", "centred"])
def test_units_of_a_single_incoming_weight_have_no_spread_and_stay(norm: str) -> None:
    model = mlp(1, 4, widths=(5, 6), norm=norm)
    assert [is_parametrized(block.weighted) for block in model.blocks] == [False, True]


def test_depth_order_and_a_linear_model() -> None:
    model = mlp(7, 2, widths=(3, 5, 4))
    sizes = [(block.weighted.in_features, block.weighted.out_features) for block in model.blocks]
    assert sizes == [(7, 3), (3, 5), (5, 4)]
    linear = mlp(7, 2, widths=())
    assert len(linear.blocks) == 0
    assert linear(torch.randn(3, 7)).shape == (3, 2)


def test_dropout_zeroes_single_activations_in_training_only() -> None:
    model = mlp(3, 2, widths=(400,), dropout=0.25, activation="sigmoid")
    dropped = model.blocks[0](torch.randn(10, 3)) == 0
    assert dropped.float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert isinstance(model.blocks[0].dropout, layers.Dropout)
    assert mlp(3, 2, dropout=0.0).blocks[0].dropout is None


@pytest.mark.parametrize("norm", DENSE_NORMS)
def test_model_copies_and_pickles(norm: str) -> None:
    model = mlp(3, 2, widths=(8,), norm=norm).eval()
    x = torch.randn(4, 3)
    assert torch.equal(copy.deepcopy(model)(x), model(x))
    if norm not in IN_WEIGHTS:  # torch refuses to pickle parametrized modules
        assert torch.equal(pickle.loads(pickle.dumps(model))(x), model(x))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"norm": "instance"},
            ArgumentError,
            "mlp: Instance Normalization needs positions",
        ),
        ({"norm": "layr"}, UnknownNameError, r"unknown normalization 'layr'\. Did you mean 'layer'"),
        ({"activation": "rleu"}, UnknownNameError, r"mlp: unknown activation 'rleu'\. Did you mean 'relu'"),
        ({"position": "behind"}, UnknownNameError, "unknown position 'behind'"),
        ({"widths": (4, 0)}, ArgumentError, r"mlp: `widths` must be integers of at least 1\. Got \(4, 0\)"),
        ({"widths": (10,), "norm": "group:3"}, ArgumentError, "use a divisor of 10"),
        ({"dropout": 1.5}, ValueError, "between 0 and 1"),
    ],
)
def test_bad_input_is_explained(arguments: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        mlp(3, 2, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("inputs", "outputs", "name"),
    [(0, 2, "in_features"), ((3, -1), 2, "in_features"), (3, 0, "out_features")],
)
def test_wrong_sizes_at_the_ends_are_explained(
    inputs: int | tuple[int, ...], outputs: int, name: str
) -> None:
    with pytest.raises(ArgumentError, match=f"mlp: `{name}` must be integers of at least 1"):
        mlp(inputs, outputs)
