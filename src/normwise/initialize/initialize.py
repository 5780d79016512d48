"""One call that draws a model's initial weights."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

import torch
from torch import Tensor, nn

from normwise.errors import ArgumentError, explain, unknown_name
from normwise.initialize._gain import gain
from normwise.initialize._layers import WeightedLayer, weighted_layers, zero_biases_
from normwise.initialize.gaussian import gaussian
from normwise.initialize.he import he
from normwise.initialize.lsuv import lsuv_
from normwise.initialize.orthogonal import orthogonal
from normwise.initialize.xavier import xavier

_DRAWS: dict[str, Callable[[WeightedLayer], Tensor]] = {
    "he": he,
    "xavier": xavier,
    "orthogonal": orthogonal,
    "gaussian": gaussian,
}

SCHEMES: tuple[str, ...] = ("he", "xavier", "orthogonal", "lsuv", "gaussian")


@torch.no_grad()
def initialize_(
    model: nn.Module,
    scheme: str,
    *,
    scale: float = 1.0,
    seed: int,
    batch: Tensor | None = None,
    activation: str = "relu",
) -> None:
    """Draw the weights of all linear layers and convolutions of a model anew, and set their biases to zero.

    ======================  ==============================================================
    ``he``                  normal, σ = scale · gain / √fan_in
    ``xavier``              normal, σ = scale · √(2 / (fan_in + fan_out))
    ``orthogonal``          scale · gain · a matrix with orthonormal rows or columns
    ``lsuv``                scale · orthonormal / deviation of the layer's output on `batch`
    ``gaussian``            normal, σ = scale
    ======================  ==============================================================

    ``fan_in`` is the number of inputs that one output adds up. The gain is ``1 / √E f(z)²`` for the
    activation f (√2 for ReLU), and 1 for the last weighted layer, which no activation follows. It differs
    from ``torch.nn.init.calculate_gain`` for tanh (1.593 here, 5/3 there) and sigmoid (1.846, 1 there).

    Each layer draws from a generator of its own, seeded by `seed` and by the layer's ordinal among the
    weighted layers of ``model.modules()``. Two models with the same widths therefore start from the same
    weights whatever normalization lies between. Under weight normalization the effective weight is the
    drawn one. Other layers (norms, embeddings) are left alone; the global random state is neither read nor
    changed.

    Args:
        model: the network; changed in place.
        scheme: one of `SCHEMES`.
        scale: factor on all weights, finite and > 0.
        seed: ≥ 0.
        batch: inputs for ``lsuv``, which alone uses them; as the model takes them.
        activation: what follows the layers: linear, relu, leaky_relu, gelu, silu, tanh or sigmoid.

    Raises:
        UnknownNameError: an unknown scheme or activation.
        ArgumentError: `scale` or `seed` is wrong; the model has no such layer; ``lsuv`` has no `batch`, or a
            layer's output does not vary over it (the weights are then already drawn, unscaled).

    Source: the file of each scheme names its paper.

    Example:
        >>> layer = nn.Linear(1000, 100)
        >>> initialize_(nn.Sequential(layer, nn.ReLU(), nn.Linear(100, 1)), "he", seed=0)
        >>> round(layer.weight.std().item() * 1000**0.5, 2)  # √2
        1.41
    """
    if scheme not in SCHEMES:
        raise unknown_name("initialize_", "scheme", scheme, SCHEMES)
    if not (math.isfinite(scale) and scale > 0):
        raise ArgumentError(explain("initialize_", "`scale` must be finite and positive", repr(scale)))
    if operator.index(seed) < 0:
        raise ArgumentError(explain("initialize_", "`seed` must not be negative", repr(seed)))
    layers = weighted_layers(model, operator.index(seed), gain(activation))
    if scheme == "lsuv":
        if batch is None:
            raise ArgumentError(
                explain("initialize_", "scheme 'lsuv' needs `batch`", "None", "hand in some tens of inputs")
            )
        zero_biases_(model)
        lsuv_(model, layers, batch)
        for layer in layers:
            layer.multiply_weight_(scale)
    else:
        zero_biases_(model)
        for layer in layers:
            layer.set_weight_(_DRAWS[scheme](layer) * scale)
