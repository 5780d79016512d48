"""Faults of dynamics in the network: initial weights, depth and activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from normwise.testing.faults.fault import Fault, on_model, on_program
from normwise.testing.faults.places import activated, insert, middle, weighted

_PLAIN = ("mlp", "cnn", "residual")
_DEEP = {
    "norm": "none",
    "depth": 7,
    "optimizer": "momentum",
    "activation": "tanh",
    "initialization": "xavier",
}
_BARE = {"norm": "none", "activation": "relu"}


class _Scaled(nn.Module):
    """Times a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, input: Tensor) -> Tensor:
        return self.factor * input


def _hidden(model: nn.Module) -> Sequence[str]:
    return [name for name in weighted(model) if name != "head.output"]


def _hidden_or_all(model: nn.Module) -> Sequence[str]:
    return ("", *weighted(model))


def _all_weights(factor: float) -> Callable[[nn.Module], Sequence[str]]:
    @torch.no_grad()
    def change(model: nn.Module) -> Sequence[str]:
        for name in weighted(model):
            layer: Any = model.get_submodule(name)
            layer.weight.mul_(factor)
        return _hidden_or_all(model)

    return change


def _one_layer(
    *, weight: float | None = None, bias: float | None = None
) -> Callable[[nn.Module], Sequence[str]]:
    """The middle layer with an activation: its weight times `weight`, its bias set to `bias`."""

    @torch.no_grad()
    def change(model: nn.Module) -> Sequence[str]:
        name, _ = middle(activated(model))
        layer: Any = model.get_submodule(name)
        if weight is not None:
            layer.weight.mul_(weight)
        if bias is not None:
            layer.bias.fill_(bias)
        return (name,)

    return change


def _fading(model: nn.Module) -> Sequence[str]:
    """Each block hands on a twentieth."""
    blocks = [name for name, _ in model.named_children() if name.startswith("block")]
    added = [insert(model, name, f"{name}_scaled", _Scaled(0.05)) for name in blocks]
    return ("", *_hidden(model), *added)


@torch.no_grad()
def _constant_weights(model: nn.Module) -> Sequence[str]:
    for name in weighted(model):
        layer: Any = model.get_submodule(name)
        layer.weight.fill_(1 / layer.weight[0].numel())
    return _hidden_or_all(model)


@torch.no_grad()
def _switched_off_norm(model: nn.Module) -> Sequence[str]:
    """The batch normalization in front of a ReLU has scale 0.01 and bias −1."""
    layer, activation = middle(activated(model))
    path = layer.rpartition(".")[0]
    children = [f"{path}.{name}" for name, _ in model.get_submodule(path).named_children()]
    norm_name = children[children.index(activation) - 1]
    norm: Any = model.get_submodule(norm_name)
    norm.weight.fill_(0.01)
    norm.bias.fill_(-1.0)
    return layer, norm_name, activation


DYNAMICS = (
    Fault(
        "sigmoid-depth",
        "dynamics",
        ("NW501",),
        "many layers of sigmoids without a norm",
        on_program(lambda model: ("", *_hidden(model)), activation="sigmoid"),
        _PLAIN,
        _DEEP,
    ),
    Fault(
        "fading-signal",
        "dynamics",
        ("NW501", "NW505"),
        "each block hands on a twentieth of what it computes",
        on_model(_fading),
        _PLAIN,
        {"norm": "none", "depth": 4},
    ),
    Fault(
        "small-initialization",
        "dynamics",
        ("NW505", "NW501"),
        "all weights a tenth of what they should be",
        on_model(_all_weights(0.1)),
        needs=_BARE | {"optimizer": "momentum", "depth": 4, "transformer": {"norm": "layer", "depth": 2}},
        architectures=_PLAIN,
    ),
    Fault(
        "large-initialization",
        "dynamics",
        ("NW505", "NW502"),
        "all weights six times what they should be",
        on_model(_all_weights(6.0)),
        needs=_BARE | {"transformer": {"norm": "layer"}},
    ),
    Fault(
        "exploding-depth",
        "dynamics",
        ("NW502", "NW505"),
        "many layers, each of which triples the signal",
        on_model(_all_weights(3.0)),
        _PLAIN,
        _BARE | {"depth": 6},
    ),
    Fault(
        "one-layer-too-large",
        "dynamics",
        ("NW505", "NW502"),
        "the weights of one layer fifty times what they should be",
        on_model(_one_layer(weight=50.0)),
        architectures=_PLAIN,
        needs=_BARE | {"optimizer": "momentum"},
    ),
    Fault(
        "zero-weights",
        "dynamics",
        ("NW513",),
        "all weights start at zero",
        on_model(_all_weights(0.0)),
        needs=_BARE | {"transformer": {"norm": "layer"}},
    ),
    Fault(
        "equal-weights",
        "dynamics",
        ("NW513",),
        "all weights of a layer are equal, in each layer",
        on_model(_constant_weights),
    ),
    Fault(
        "dying-units",
        "dynamics",
        ("NW503",),
        "the biases of one layer keep its rectifiers shut",
        on_model(_one_layer(bias=-20.0)),
        needs=_BARE | {"transformer": {"norm": "layer", "activation": "relu"}},
    ),
    Fault(
        "units-shut-by-a-norm",
        "dynamics",
        ("NW503",),
        "the scale and bias of one norm keep the rectifiers behind it shut",
        on_model(_switched_off_norm),
        _PLAIN,
        {"norm": "batch", "activation": "relu"},
    ),
    Fault(
        "saturated-by-weights",
        "dynamics",
        ("NW504", "NW505"),
        "the weights of one layer drive its tanh into saturation",
        on_model(_one_layer(weight=60.0)),
        needs={
            "norm": "none",
            "activation": "tanh",
            "initialization": "xavier",
            "transformer": {"norm": "layer"},
        },
    ),
    Fault(
        "saturated-by-bias",
        "dynamics",
        ("NW504",),
        "the biases of one layer drive its tanh into saturation",
        on_model(_one_layer(bias=12.0)),
        needs={
            "norm": "none",
            "activation": "tanh",
            "initialization": "xavier",
            "transformer": {"norm": "layer"},
        },
    ),
)
