"""The convolutional network: shapes, norms, biases, residuals, pooling, head, messages."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from normwise import layers
from normwise.errors import ArgumentError, UnknownNameError
from normwise.models import NORMS, POSITIONS, cnn
from normwise.norms import KINDS

IMAGE_NORMS = [norm for norm in NORMS if KINDS[norm].fits_images]
OWN_ACTIVATION = ["filter_response", "evonorm_b0", "evonorm_s0"]
IMAGES = torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("norm", [*IMAGE_NORMS, "group:2", "evonorm_s0:2", "local_response:3", "ghost:3"])
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("residual", [False, True])
def test_shapes_and_gradients_everywhere(norm: str, position: str, residual: bool) -> None:
    model = cnn(
        (2, 8, 8),
        3,
        channels=(4, 4, 8),
        head=(16,),
        norm=norm,
        position=position,
        residual=residual,
        activation="tanh",
        norm_head=KINDS[norm.partition(":")[0]].fits_features,
    )
    y = model(IMAGES)
    assert y.shape == (4, 3)
    y.backward(torch.randn(4, 3))
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.count_nonzero(parameter.grad) > 0, name


@pytest.mark.parametrize("pool", ["average", "max", "none"])
@pytest.mark.parametrize("reduce", ["average", "flatten"])
@pytest.mark.parametrize("head", [(), (6,)])
def test_forward_is_blocks_with_pooling_between_then_reduction_head_and_output(
    pool: str, reduce: str, head: tuple[int, ...]
) -> None:
    model = cnn((2, 9, 6), 3, channels=(4, 5), head=head, pool=pool, reduce=reduce)
    images = torch.randn(4, 2, 9, 6)
    x = model.blocks[0](images)
    assert x.shape == (4, 4, 9, 6)
    x = {
        "average": lambda t: nn.functional.avg_pool2d(t, 2),
        "max": lambda t: nn.functional.max_pool2d(t, 2),
    }.get(pool, lambda t: t)(x)
    x = model.blocks[1](x)
    x = x.mean((2, 3)) if reduce == "average" else x.flatten(1)
    for block in list(model.blocks)[2:]:
        x = block(x)
    assert len(model.blocks) == 2 + len(head)
    torch.testing.assert_close(model(images), model.output(x))


@pytest.mark.parametrize("norm", IMAGE_NORMS)
@pytest.mark.parametrize("position", POSITIONS)
def test_only_a_bias_that_the_norm_would_cancel_is_left_out(norm: str, position: str) -> None:
    model = cnn((2, 8, 8), 3, norm=norm, position=position)
    cancelling = ("batch", "instance", "batch_renorm", "ghost", "mean_only", "decorrelated")
    cancelled = norm in cancelling and position == "before"
    assert [block.weighted.bias is None for block in model.blocks] == [cancelled, cancelled]
    assert model.output.bias is not None


def test_head_is_normalized_unless_told_and_the_output_only_when_told() -> None:
    model = cnn((2, 8, 8), 3, head=(8,), norm="batch")
    assert isinstance(model.blocks[2].norm, layers.BatchNorm1d)
    assert model.blocks[2].weighted.bias is None
    assert model.output_norm is None
    bare = cnn((2, 8, 8), 3, head=(8,), norm="batch", norm_head=False)
    assert bare.blocks[2].norm is None
    assert bare.blocks[2].weighted.bias is not None
    asked = cnn((2, 8, 8), 3, norm="batch", norm_output=True)
    assert isinstance(asked.output_norm, layers.BatchNorm1d)
    assert asked.output.bias is None
    assert asked(IMAGES).mean(0).abs().max() < 1e-5


@pytest.mark.parametrize("norm", OWN_ACTIVATION)
@pytest.mark.parametrize("position", POSITIONS)
def test_a_norm_with_its_own_activation_stands_where_the_activation_does(norm: str, position: str) -> None:
    model = cnn(
        (2, 8, 8),
        3,
        channels=(4, 8),
        head=(8,),
        norm=norm,
        position=position,
        residual=True,
        norm_head=False,
        activation="tanh",
    )
    for block in list(model.blocks)[:2]:
        x = torch.randn(4, block.weighted.in_channels, 8, 8)
        assert isinstance(block.activation, nn.Identity)
        summed = block.weighted(x) + block.shortcut(x)
        torch.testing.assert_close(block(x), block.norm(summed))
    assert isinstance(model.blocks[2].activation, nn.Tanh)
    assert model.blocks[2].norm is None
    with pytest.raises(UnknownNameError, match="unknown activation 'rleu'"):
        cnn((2, 8, 8), 3, norm=norm, activation="rleu")


@pytest.mark.parametrize("norm", [name for name, kind in KINDS.items() if kind.weights])
def test_what_lies_in_weights_lies_on_all_layers_but_the_last(norm: str) -> None:
    model = cnn((2, 8, 8), 3, head=(8,), norm=norm, residual=True)
    assert all(is_parametrized(block.weighted, "weight") for block in model.blocks)
    assert is_parametrized(model.blocks[0].shortcut, "weight")
    assert not is_parametrized(model.output)
    gray = cnn((1, 8, 8), 3, norm=norm, residual=True)
    spread = norm in ("standardized", "centred")  # one weight has none
    assert is_parametrized(gray.blocks[0].shortcut, "weight") != spread


def test_shortcut_is_the_identity_where_channels_stay() -> None:
    model = cnn((2, 8, 8), 3, channels=(4, 4), residual=True)
    assert isinstance(model.blocks[0].shortcut, nn.Conv2d)
    assert model.blocks[0].shortcut.kernel_size == (1, 1)
    assert model.blocks[0].shortcut.bias is None
    assert isinstance(model.blocks[1].shortcut, nn.Identity)
    assert all(block.shortcut is None for block in cnn((2, 8, 8), 3).blocks)


def test_dropout_zeroes_whole_channels_of_images_and_single_features_of_the_head() -> None:
    model = cnn((2, 8, 8), 3, channels=(300,), head=(400,), dropout=0.25, activation="sigmoid")
    maps = model.blocks[0](IMAGES) == 0
    assert torch.equal(maps.any((2, 3)), maps.all((2, 3)))
    assert maps.float().mean().item() == pytest.approx(0.25, abs=0.06)
    assert isinstance(model.blocks[0].dropout, layers.Dropout2d)
    assert isinstance(model.blocks[1].dropout, layers.Dropout)


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_padding_keeps_the_size(kernel_size: int) -> None:
    model = cnn((2, 8, 8), 3, channels=(4,), kernel_size=kernel_size)
    assert model.blocks[0](IMAGES).shape == (4, 4, 8, 8)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"in_shape": (8, 8)}, ArgumentError, r"`in_shape` must be \(channels, height, width\)"),
        ({"channels": ()}, ArgumentError, "`channels` must name one block at least"),
        ({"channels": (4, -1)}, ArgumentError, "cnn: `channels` must be integers of at least 1"),
        ({"kernel_size": 4}, ArgumentError, "`kernel_size` must be odd"),
        ({"pool": "avg"}, UnknownNameError, "unknown pool 'avg'"),
        ({"reduce": "mean"}, UnknownNameError, "unknown reduction 'mean'"),
        ({"norm": "bath"}, UnknownNameError, r"cnn: unknown normalization 'bath'\. Did you mean 'batch'"),
        ({"channels": (4,) * 5}, ArgumentError, r"Got 1 × 1 after 4 blocks\. hint: use 4 blocks at most"),
        ({"channels": (4,) * 4, "norm": "instance"}, ArgumentError, "at least 2 positions in a block"),
        ({"head": (4,), "norm": "instance"}, ArgumentError, "use .layer., or norm_head=False"),
        ({"norm": "scale"}, ArgumentError, r"takes rows of features\. Got 16 channels of 8 × 8 positions"),
        ({"channels": (4,) * 4, "norm": "filter_response"}, ArgumentError, "at least 2 positions in a block"),
        ({"norm": "evonorm_b0", "norm_output": True}, ArgumentError, "width 3, which has none"),
        ({"norm": "evonorm_s0:3"}, ArgumentError, r"Got 16 and 3\. hint: use a divisor of 16"),
        ({"norm": "group:3"}, ArgumentError, r"Got 16 and 3\. hint: use a divisor of 16"),
        ({"dropout": -0.5}, ValueError, "between 0 and 1"),
    ],
)
def test_bad_input_is_explained(arguments: dict[str, object], error: type[Exception], message: str) -> None:
    given: dict[str, object] = {"in_shape": (2, 8, 8), "out_features": 3, **arguments}
    with pytest.raises(error, match=message):
        cnn(**given)  # type: ignore[arg-type]
