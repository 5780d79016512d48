"""Dropout that draws while the rest of a model is in evaluation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from normwise.errors import ArgumentError, explain
from normwise.layers._draws import Draws
from normwise.layers._fused import Fused

# Layers of other packages whose training flag says only whether they draw: timm's, torchvision's, transformers'.
_NAMES = ("DropPath", "StochasticDepth", "DropBlock2d", "DropBlock3d", "StableDropout")
# Where torch keeps a rate in a layer that does other things, too. Their own flag says whether they drop; in attention
# and the encoder it also stands before a fast path that knows no dropout.
_WITH_A_RATE = (nn.MultiheadAttention, nn.RNNBase)
_RATES = ("p", "drop_prob", "dropout")


@contextlib.contextmanager
def monte_carlo(model: nn.Module) -> Iterator[None]:
    """Let all dropout of a model draw in a block, while the rest stays as it is, normalizations in evaluation included.

    What is switched: normwise's layers that draw, the dropout of fused layers such as `BatchNormAct2d` (alone: they
    normalize as before), `weight_dropout`, torch's dropout layers, the dropout within `MultiheadAttention` and
    recurrent layers, and by the name of their class timm's and torchvision's `DropPath`, `StochasticDepth` and
    `DropBlock2d`. A warm-up counts no calls. What a forward pass drops by calling a function itself cannot be seen
    here.

    Every flag is as before afterwards, after an exception, too. Blocks may be nested; `train` and `eval` in a block
    switch torch's layers themselves.

    Args:
        model: any module; usually in evaluation.

    Raises:
        ArgumentError: (a ValueError) the model has no dropout with a positive rate.

    Source: Gal & Ghahramani 2016.

    >>> import torch
    >>> model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5)).eval()
    >>> with monte_carlo(model):
    ...     [module.training for module in model]
    [False, True]
    >>> [module.training for module in model]
    [False, False]
    """
    switched = list(_switches(model))
    if not switched:
        raise ArgumentError(
            explain(
                "monte_carlo",
                "the model must have a layer that drops at a positive rate",
                type(model).__name__,
                "dropout called as a function is not seen: use a layer such as normwise.Dropout",
            )
        )
    before = [(module, flag, getattr(module, flag)) for module, flag in switched]
    try:
        for module, flag in switched:
            setattr(module, flag, True)
        yield
    finally:
        for module, flag, value in before:
            setattr(module, flag, value)


def _switches(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Each module that drops, with the attribute that lets it."""
    drops = False
    encoders = []
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            encoders.append(module)
        if not _rate(module) > 0.0:
            continue
        if isinstance(module, Draws | Fused):
            yield module, "draws"
        elif isinstance(module, (_DropoutNd, *_WITH_A_RATE)) or type(module).__name__.endswith(_NAMES):
            yield module, "training"
        else:
            continue
        drops = True
    if drops:
        # Its fast path in evaluation passes by the dropout layers in it; the flag has no other effect.
        yield from ((module, "training") for module in encoders)


def _rate(module: nn.Module) -> float:
    """The rate that a module holds under one of the usual names; 1 where it has none of them."""
    for name in _RATES:
        value = getattr(module, name, None)
        if isinstance(value, int | float):
            return float(value)
    return 1.0
