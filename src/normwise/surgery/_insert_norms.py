"""The norm that fits a layer's outputs."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from normwise.errors import ArgumentError, explain
from normwise.layers._state import Normalizer
from normwise.models.norm import Norm

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm, Normalizer)


def is_norm(module: nn.Module) -> bool:
    """Whether a module normalizes, by its class or by its name.

    >>> is_norm(nn.GroupNorm(1, 2)), is_norm(nn.Linear(1, 2))
    (True, False)
    """
    return isinstance(module, _NORMS) or "Norm" in type(module).__name__


def parsed(spec: Any) -> Norm:
    """Read the name of a kind that can stand behind a layer.

    Raises:
        UnknownNameError: no such kind.
        ArgumentError: it is no name, or the kind lies in weights, or holds an activation of its own.
    """
    if not isinstance(spec, str):
        must = "`kind` must be the name of a normalization"
        raise ArgumentError(explain("insert", must, f"a {type(spec).__name__}", "as in 'batch'"))
    choice = Norm.parse(spec, "insert")
    kind = choice.kind
    if kind.weights or not (kind.features or kind.images):
        raise ArgumentError(
            explain(
                "insert", "the kind must normalize activations", repr(spec), "use nw.weight_norm and its like"
            )
        )
    if kind.is_activation:
        raise ArgumentError(
            explain(
                "insert",
                "the kind must not hold an activation of its own",
                repr(spec),
                "use 'batch' or 'group'",
            )
        )
    return choice


def _rank(layer: nn.Module) -> int:
    """Axes of positions of a convolution.

    >>> _rank(nn.Conv2d(1, 1, 1)), _rank(nn.ConvTranspose1d(1, 1, 1))
    (2, 1)
    """
    return len(layer.kernel_size)  # type: ignore[arg-type]  # torch types attributes of modules as Tensor | Module


def norm_for(
    spec: str, layer: nn.Module, shape: tuple[int, ...], device: torch.device, dtype: torch.dtype
) -> tuple[nn.Module, bool]:
    """The norm of a name for a layer whose outputs have a shape, and whether it cancels the layer's bias.

    Raises:
        UnknownNameError: no such kind.
        ArgumentError: the kind cannot take outputs of this form.
    """
    choice = parsed(spec)
    kind = choice.kind
    if isinstance(layer, nn.Linear):
        if len(shape) != 2 and kind.features not in ("LayerNorm", "RMSNorm", "DynamicTanh", "ScaleNorm"):
            raise ArgumentError(
                explain(
                    "insert",
                    f"{kind.title} takes features (N, C), and no outputs with positions whose channels are last",
                    f"shape {shape}",
                    "use 'layer' or 'rms'",
                )
            )
        norm = choice.for_features(shape[-1])
    else:
        rank = len(shape) - 2
        if rank != _rank(layer):
            must = "the example must be a batch: a convolution's outputs have samples, channels and positions"
            raise ArgumentError(explain("insert", must, f"outputs of shape {shape}"))
        norm = choice.for_images(shape[1], math.prod(shape[2:-1]), shape[-1], rank=rank)
    if norm is None:
        raise ArgumentError(explain("insert", "the kind must be a normalization", repr(spec)))
    return norm.to(device=device, dtype=dtype), choice.cancels_bias
