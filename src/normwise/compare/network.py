"""From a network, a variant and the data's shape to a module with its initial weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from normwise.compare.spec import Initialization, Network
from normwise.compare.variant import Variant
from normwise.errors import ArgumentError, explain
from normwise.initialize import initialize_
from normwise.layers import initialize_weight_norm_
from normwise.models import cnn, mlp


def build(network: Network, variant: Variant, in_shape: tuple[int, ...], out_features: int) -> nn.Module:
    """The module, with weights that `initialized` still has to draw.

    Raises:
        ArgumentError: the network does not fit the data or the normalization does not fit the network.
    """
    shared: dict[str, Any] = {
        "activation": network.activation,
        "norm": variant.norm,
        "position": variant.position,
        "dropout": variant.dropout,
        "norm_output": variant.norm_output,
    }
    if network.kind == "mlp":
        return mlp(in_shape, out_features, widths=network.widths, **shared)
    if len(in_shape) != 3:
        raise ArgumentError(
            explain("compare", "a cnn needs images", f"rows of {in_shape[0]} columns", "use --network mlp")
        )
    return cnn(
        in_shape,
        out_features,
        channels=network.channels,
        head=network.head,
        residual=network.residual,
        pool=pooling(network, in_shape),
        reduce=network.reduce,
        norm_head=variant.norm != "instance",  # a head has no positions to average over
        **shared,
    )


def pooling(network: Network, in_shape: tuple[int, ...]) -> str:
    """Average pooling between blocks, unless the image would be used up before the last one: then none at all."""
    return "average" if min(in_shape[1:]) >> (len(network.channels) - 1) >= 1 else "none"


def initialize(
    model: nn.Module,
    variant: Variant,
    network: Network,
    initialization: Initialization,
    *,
    seed: int,
    batch: Tensor,
) -> None:
    """Draw the initial weights: equal for equal seeds and shapes, whatever normalization lies between.

    Weight normalization then gets its data-dependent initialisation from the batch (Salimans & Kingma 2016).
    """
    initialize_(
        model,
        initialization.scheme,
        scale=initialization.scale,
        seed=seed,
        batch=batch,
        activation=network.activation,
    )
    if variant.norm == "weight":
        with torch.no_grad():
            initialize_weight_norm_(model, batch)


def count_parameters(model: nn.Module) -> int:
    """The number of trained values."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def describe(network: Network, in_shape: tuple[int, ...], out_features: int) -> str:
    """The network in words.

    >>> describe(Network(kind="mlp", widths=(64, 32)), (20,), 3)
    'multilayer perceptron 20-64-32-3, relu'
    """
    if network.kind == "mlp":
        size = 1
        for extent in in_shape:
            size *= extent
        sizes = "-".join(str(n) for n in (size, *network.widths, out_features))
        return f"multilayer perceptron {sizes}, {network.activation}"
    channels = "-".join(str(n) for n in (in_shape[0], *network.channels))
    head = "-".join(str(n) for n in (*network.head, out_features))
    between = "average" if pooling(network, in_shape) == "average" else "no"
    residual = ", residual" if network.residual else ""
    return (
        f"convolutional network, 3×3 convolutions {channels}, {between} pooling between, "
        f"{network.reduce} over positions, head {head}, "
        f"{network.activation}{residual}"
    )
