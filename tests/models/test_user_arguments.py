"""What parameters are given: by name, by annotation, by the text of --model-args."""

from __future__ import annotations

import enum
import inspect
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import nn

from normwise.errors import ArgumentError, UnknownNameError
from normwise.models import norm_layer
from normwise.models.user_convert import convert
from normwise.models.user_fill import Facts, fill, varied
from normwise.models.user_norm import NormFactory
from normwise.models.user_parameters import parameters_of

ROWS, IMAGES = Facts((20,), 3), Facts((3, 8, 8), 10, norm="batch")


def given(builder: Any, facts: Facts = IMAGES, **fixed: Any) -> dict[str, Any]:
    return fill(parameters_of(builder), fixed, facts).values


def test_the_classes_go_by_many_names_and_stay_a_number() -> None:
    def numbers(num_classes, n_classes: int | None = None, classes=1000, output_dim=1, out_features=1): ...
    def names(classes: list[str], output_size="large"): ...

    assert set(given(numbers).values()) == {10}
    assert len(given(numbers)) == 5
    assert given(names) == {}
    assert fill(parameters_of(names), {}, IMAGES).missing == ("classes",)


def test_channels_and_columns() -> None:
    def build(in_channels, in_chans=1, in_features=1, input_dim=1, num_features: int = 64, n_channels=3): ...

    assert given(build) == {
        "in_channels": 3,
        "in_chans": 3,
        "in_features": 192,
        "input_dim": 192,
        "n_channels": 3,
    }
    assert set(given(build, ROWS).values()) == {20}


def test_channels_may_be_a_width() -> None:
    def mixer(image_size, channels, num_classes): ...
    def transformer(image_size=8, channels=3): ...
    def wide(in_channels=3, channels=64, input_size=32): ...
    def sizes(channels=(8, 16)): ...
    def tabular(d_in, d_out, channels=1): ...

    assert given(mixer)["channels"] == given(transformer)["channels"] == 3
    assert given(wide) == {"in_channels": 3, "input_size": 8}
    assert given(sizes) == {}
    assert given(tabular, ROWS) == {"d_in": 20, "d_out": 3}


def test_shapes_and_sides() -> None:
    def build(input_shape, image_size=224, img_size=(224, 224)): ...
    def with_channels(in_channels, input_size=32): ...

    assert given(build) == {"input_shape": (3, 8, 8), "image_size": 8, "img_size": (8, 8)}
    assert given(build, ROWS) == {"input_shape": (20,)}
    assert given(with_channels) == {"in_channels": 3, "input_size": 8}
    assert given(build, Facts((1, 8, 6), 2))["image_size"] == (8, 6)


def test_a_norm_is_a_name_or_a_factory() -> None:
    def plain(norm="none"): ...
    def other_words(norm="bn"): ...
    def switch(norm: bool = True): ...
    def layer(norm_layer=None): ...
    def class_(norm=nn.BatchNorm2d): ...
    def named(norm_layer: str = "batch"): ...

    assert given(plain) == {"norm": "batch"}
    assert given(named) == {"norm_layer": "batch"}
    assert given(other_words) == given(switch) == {}
    assert (
        varied(parameters_of(other_words), {}) == varied(parameters_of(plain), {"norm": "x"}) == frozenset()
    )
    for builder in (layer, class_):
        (factory,) = given(builder).values()
        assert type(factory(8, eps=1e-3)).__name__ == "BatchNorm2d"
        assert factory(8, eps=1e-3).eps == 1e-3
        assert isinstance(factory, NormFactory)
    (factory,) = given(layer, ROWS).values()
    assert isinstance(factory(8), nn.Identity)


def test_an_activation_is_a_name_a_class_a_module_or_a_function() -> None:
    module = nn.ReLU()

    def build(activation="relu", act_layer=nn.ReLU, act=None, act_fn=torch.relu, nonlinearity=module): ...

    values = given(build, Facts((20,), 3, activation="tanh"))
    assert values["activation"] == "tanh"
    assert values["act_layer"] is values["act"] is nn.Tanh
    assert isinstance(values["nonlinearity"], nn.Tanh)
    assert torch.equal(values["act_fn"](torch.ones(1)), torch.ones(1).tanh())
    assert given(build) == {}


def test_dropout_is_given_where_a_variant_has_one() -> None:
    def build(p=0.5, drop_rate: float = 0.0): ...

    assert given(build) == {}
    assert given(build, Facts((20,), 3, dropout=0.2)) == {"p": 0.2, "drop_rate": 0.2}


def test_own_arguments_win() -> None:
    def build(norm="none", num_classes=2): ...

    assert given(build, norm="layer", num_classes=7) == {"norm": "layer", "num_classes": 7}


class _Base(nn.Module):
    def __init__(self, width=4, **unused):
        super().__init__()


class _Derived(_Base):
    def __init__(self, num_classes, **kwargs):
        super().__init__(**kwargs)


def _reads(**options):
    depth = options.pop("depth", 3)
    return options["width"] * depth


def _passes_on_to_nobody_knows(**options):
    return {"a": _reads}["a"](**options)


def test_names_behind_keyword_arguments() -> None:
    assert list(parameters_of(_Derived).named) == ["num_classes", "width"]
    assert not parameters_of(_Derived).anything
    assert sorted(parameters_of(_reads).named) == ["depth", "width"]
    assert given(_passes_on_to_nobody_knows) == {
        "norm": "batch",
        "activation": "relu",
        "in_features": 192,
        "out_features": 10,
    }
    assert parameters_of(nn.Module).named == {}


class _Size(enum.Enum):
    SMALL = 1


KINDS: list[tuple[Any, Any, str, Any]] = [
    (int, inspect.Parameter.empty, "128", 128),
    (float, inspect.Parameter.empty, "128", 128.0),
    (bool, inspect.Parameter.empty, "0", False),
    (str, inspect.Parameter.empty, "128", "128"),
    (int | None, inspect.Parameter.empty, "none", None),
    (int | str, inspect.Parameter.empty, "x", "x"),
    (tuple[int, ...], inspect.Parameter.empty, "64,32", (64, 32)),
    (list[float], inspect.Parameter.empty, "[1, 2]", [1.0, 2.0]),
    (dict[str, int], inspect.Parameter.empty, '{"a": 1}', {"a": 1}),
    (Path, inspect.Parameter.empty, "a/b", Path("a/b")),
    (Literal["a", 2], inspect.Parameter.empty, "2", 2),
    (_Size, inspect.Parameter.empty, "SMALL", _Size.SMALL),
    (inspect.Parameter.empty, 3, "5", 5),
    (inspect.Parameter.empty, 0.5, "1", 1.0),
    (inspect.Parameter.empty, True, "no", False),
    (inspect.Parameter.empty, [64], "32,16,8", [32, 16, 8]),
    (inspect.Parameter.empty, "a", "7", "7"),
    (inspect.Parameter.empty, None, "1e-3", 0.001),
    (inspect.Parameter.empty, None, "Block", _Base),
    (inspect.Parameter.empty, nn.ReLU, "nn.GELU", nn.GELU),
    (inspect.Parameter.empty, None, "true", True),
    (inspect.Parameter.empty, None, "2,3", (2, 3)),
]


@pytest.mark.parametrize(("annotation", "default", "text", "value"), KINDS)
def test_text_becomes_what_the_parameter_takes(annotation: Any, default: Any, text: str, value: Any) -> None:
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameter = inspect.Parameter("x", keyword, annotation=annotation, default=default)
    found = convert(text, parameter, {"Block": _Base}, "net")
    assert found == value
    assert type(found) is type(value)


def test_a_value_that_is_not_among_the_known_ones_is_refused() -> None:
    parameter = inspect.Parameter("x", inspect.Parameter.KEYWORD_ONLY, annotation=Literal["small", "large"])
    with pytest.raises(UnknownNameError, match=r"net: unknown value of x 'smal'\. Did you mean 'small'"):
        convert("smal", parameter, {}, "net")


@pytest.mark.parametrize(
    ("kind", "dims", "name"),
    [
        ("batch", 1, "BatchNorm1d"),
        ("batch", 2, "BatchNorm2d"),
        ("layer", 1, "LayerNorm"),
        ("layer", 2, "LayerNorm2d"),
        ("group:2", 2, "GroupNorm"),
        ("instance", 2, "InstanceNorm2d"),
        ("rms", 1, "RMSNorm"),
        ("none", 1, "Identity"),
        ("weight", 2, "Identity"),
        ("orthogonal", 2, "Identity"),
        ("ghost:2", 1, "GhostBatchNorm1d"),
        ("scale", 1, "ScaleNorm"),
        ("filter_response", 2, "FilterResponseNorm2d"),
        ("evonorm_s0:4", 2, "EvoNorm2dS0"),
    ],
)
def test_a_norm_layer_by_name(kind: str, dims: int, name: str) -> None:
    layer = norm_layer(kind, 8, dims=dims)
    assert type(layer).__name__ == name
    shape = (4, 8) if dims == 1 else (4, 8, 3, 3)
    assert layer(torch.rand(shape)).shape == shape


def test_a_norm_layer_that_cannot_be() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'batch'"):
        norm_layer("bacth", 8)
    with pytest.raises(ArgumentError, match="Instance Normalization needs positions"):
        norm_layer("instance", 8)
    with pytest.raises(ArgumentError, match="`dims` must be 1 for features or 2 for images"):
        norm_layer("batch", 8, dims=3)
    with pytest.raises(ArgumentError, match="divisible"):
        norm_layer("group:3", 8)
