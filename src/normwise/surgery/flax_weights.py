"""Layers from torch to Flax and back, with the conventions translated. Flax itself is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from normwise.errors import ArgumentError, explain, unknown_name
from normwise.surgery._foreign import ForeignLayer
from normwise.surgery._plain import Arrays, Plain, as_array, build, read

_NORMS = {"batch": "BatchNorm", "layer": "LayerNorm", "group": "GroupNorm", "rms": "RMSNorm"}
_ROLES = {kind: role for role, kind in _NORMS.items()}
_EPSILON = {"batch": 1e-5, "layer": 1e-6, "group": 1e-6, "rms": 1e-6}
_NAMES = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}
_KNOWN = (*_ROLES, "Dense", "Conv")


def to_flax(layer: nn.Module) -> ForeignLayer:
    """Say what a layer is in Flax: class, arguments of `flax.linen`, arrays.

    ``flax.linen.X(**config).apply(foreign.variables, x)`` computes for channels last what the layer does in evaluation
    (with ``use_running_average=True`` for batch normalization). In `flax.nnx` arguments and arrays have the same names;
    sizes come before them, and ``Dense`` is ``Linear``. Flax's momentum is the weight of the old statistics, ``1 −
    momentum``; its running variance takes the biased variance of a batch (torch's the unbiased one), which matters from
    the next training step on. Kernels are (*, in, out) there. Instance normalization is ``GroupNorm`` with as many
    groups as channels.

    Args:
        layer: batch, layer, group, instance or RMS normalization, linear or convolution, of torch's or normwise's.

    Raises:
        ArgumentError: (a ValueError) another layer, one with a norm inside, as `insert` makes them, a weight
            that is computed, or what Flax has not: a momentum of None, running statistics of
            instances, several normalized axes.

    >>> foreign = to_flax(nn.BatchNorm2d(2, momentum=0.25))
    >>> foreign.kind, foreign.config["momentum"], {name: list(each) for name, each in foreign.variables.items()}
    ('BatchNorm', 0.75, {'params': ['scale', 'bias'], 'batch_stats': ['mean', 'var']})
    """
    plain = read("to_flax", layer)
    arrays = plain.arrays
    if plain.role in _NORMS:
        config: dict[str, Any] = {"epsilon": plain.eps, "use_scale": "weight" in arrays}
        if plain.role != "rms":
            config["use_bias"] = "bias" in arrays
        if plain.role == "batch":
            config["momentum"] = 1.0 - plain.momentum
        if plain.role == "group":
            config["num_groups"] = plain.groups
        weights = {new: arrays[old] for old, new in _NAMES.items() if old in arrays}
        return ForeignLayer(_NORMS[plain.role], config, weights, plain.channels)
    weight = arrays["weight"]
    # (out, in, *) → (*, in, out)
    kernel = np.ascontiguousarray(np.transpose(weight, (*range(2, weight.ndim), 1, 0)))
    weights = {"kernel": kernel} | {name: value for name, value in arrays.items() if name == "bias"}
    config = {"features": plain.channels, "use_bias": "bias" in arrays}
    if plain.role == "linear":
        return ForeignLayer("Dense", config, weights, plain.channels)
    config |= {
        "kernel_size": weight.shape[2:],
        "strides": plain.stride,
        "padding": plain.padding,
        "kernel_dilation": plain.dilation,
        "feature_group_count": plain.groups,
    }
    return ForeignLayer("Conv", config, weights, plain.channels)


def from_flax(
    layer: Any,
    config: Mapping[str, Any] | None = None,
    weights: Mapping[str, Any] | None = None,
    *,
    rank: int | None = None,
    channels_first: bool = False,
) -> nn.Module:
    """Build the layer that computes what a layer of Flax does; the way back of `to_flax`.

    Batch normalization becomes normwise's, whose running variance takes the biased variance, as Flax's does, with
    channels on axis 1. Layer and RMS normalization go over the last axis, or over axis 1 with `channels_first`. A bias
    without a scale is one beside a weight of ones that does not learn.

    Args:
        layer: a `ForeignLayer`, or the name of a class of `flax.linen` or `flax.nnx`.
        config: arguments of the class, where `layer` is its name; what is missing is Flax's default.
        weights: arrays by Flax's names, where `layer` is a name; or collections of them (``params``, ``batch_stats``).
        rank: axes of positions; known of a convolution. Batch normalization takes 1 without it.
        channels_first: for layer and RMS normalization of images that are (N, C, *) here.

    Raises:
        UnknownNameError: the class is not known.
        ArgumentError: (a ValueError) arrays that do not fit, or what torch does not have: several axes, circular or
            uneven padding.

    >>> arrays = {"params": {"scale": np.ones(2)}, "batch_stats": {"mean": np.zeros(2), "var": np.ones(2)}}
    >>> layer = from_flax("BatchNorm", {"use_bias": False, "momentum": 0.75}, arrays, rank=2)
    >>> layer.momentum, layer.bias, layer.biased_running_var
    (0.25, None, True)
    """
    who = "from_flax"
    if isinstance(layer, str):
        layer = ForeignLayer(layer, config or {}, weights or {})
    elif not isinstance(layer, ForeignLayer):
        must = "`layer` must be a ForeignLayer, or the name of a class with its config and weights"
        raise ArgumentError(explain(who, must, f"a {type(layer).__name__}"))
    kind = "Dense" if layer.kind == "Linear" else layer.kind
    if kind not in _KNOWN:
        raise unknown_name(who, "layer", kind, (*_KNOWN, "Linear"))
    if rank not in (None, 1, 2, 3):
        raise ArgumentError(explain(who, "`rank` must be 1, 2 or 3", repr(rank)))
    arrays: Arrays = {}
    for name, value in layer.weights.items():
        inner = value.items() if isinstance(value, Mapping) else [(name, value)]
        arrays |= {str(key): as_array(each) for key, each in inner}
    if kind in _ROLES:
        plain = _read_norm(kind, layer.config, arrays, rank, layer.channels)
    else:
        plain = _read_weighted(kind, layer.config, arrays, rank)
    return build(who, plain, channels_first)


def _read_norm(
    kind: str, config: Mapping[str, Any], given: Arrays, rank: int | None, known: int | None
) -> Plain:
    role = _ROLES[kind]
    for option in ("axis", "reduction_axes", "feature_axes"):
        value = config.get(option, -1)
        if value not in (-1, (-1,), [-1]) and not (option == "reduction_axes" and value is None):
            must = f"`{option}` must be the last axis"
            raise ArgumentError(explain("from_flax", must, f"{value}"))
    arrays = {old: given[new] for old, new in _NAMES.items() if new in given}
    first: Any = next(iter(arrays.values()), None)
    if first is None and known is None:
        must = "the layer must have an array, which tells its channels"
        raise ArgumentError(explain("from_flax", must, "none", "give a ForeignLayer with `channels`"))
    channels: Any = known if first is None else first.shape[-1]
    size, groups = config.get("group_size"), config.get("num_groups", 32)
    groups = channels // int(size) if size is not None else int(groups)
    eps = float(config.get("epsilon", _EPSILON[role]))
    return Plain(role, arrays, channels, eps, 1.0 - float(config.get("momentum", 0.99)), groups, rank)


def _read_weighted(kind: str, config: Mapping[str, Any], given: Arrays, rank: int | None) -> Plain:
    who = "from_flax"
    if "kernel" not in given:
        raise ArgumentError(explain(who, "the layer must have a `kernel`", f"{list(given)}"))
    kernel = given["kernel"]
    weight = np.ascontiguousarray(
        np.transpose(kernel, (kernel.ndim - 1, kernel.ndim - 2, *range(kernel.ndim - 2)))
    )
    arrays: Arrays = {"weight": weight} | {name: value for name, value in given.items() if name == "bias"}
    channels, rank = weight.shape[0], weight.ndim - 2
    if kind == "Dense":
        return Plain("linear", arrays, channels)
    stride, dilation = (_each(config.get(name), rank) for name in ("strides", "kernel_dilation"))
    if any(step != 1 for step in _each(config.get("input_dilation"), rank)):
        raise ArgumentError(explain(who, "`input_dilation` must be 1", f"{config['input_dilation']}"))
    totals = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    return Plain(
        "convolution",
        arrays,
        channels,
        groups=int(config.get("feature_group_count", 1)),
        rank=rank,
        stride=stride,
        padding=_pairs(config.get("padding", "SAME"), totals, stride),
        dilation=dilation,
    )


def _pairs(padding: Any, totals: list[int], stride: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Padding before and after, of each axis."""
    if padding == "VALID":
        return tuple((0, 0) for _ in totals)
    if padding == "SAME" and all(step == 1 for step in stride):
        return tuple((total // 2, total - total // 2) for total in totals)
    if isinstance(padding, str):
        must = 'padding must be numbers, "VALID", or "SAME" with steps of 1'
        hint = 'with longer steps "SAME" depends on the input\'s size: pad in a layer of its own'
        raise ArgumentError(explain("from_flax", must, f"{padding!r} with steps {stride}", hint))
    each = [padding] * len(totals) if isinstance(padding, int) else list(padding)
    return tuple((int(p), int(p)) if isinstance(p, int) else (int(p[0]), int(p[1])) for p in each)


def _each(value: Any, rank: int) -> tuple[int, ...]:
    value = 1 if value is None else value
    return (int(value),) * rank if isinstance(value, int) else tuple(int(each) for each in value)
