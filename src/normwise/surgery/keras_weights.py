"""Layers from torch to Keras 3 and back, with the conventions translated. Keras itself is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from normwise.errors import ArgumentError, explain, unknown_name
from normwise.surgery._foreign import ForeignLayer
from normwise.surgery._plain import Arrays, Plain, as_array, build, read

_NORMS = {
    "batch": "BatchNormalization",
    "layer": "LayerNormalization",
    "group": "GroupNormalization",
    "rms": "RMSNormalization",
}
_ROLES = {kind: role for role, kind in _NORMS.items()}
_EPSILON = {"batch": 1e-3, "layer": 1e-3, "group": 1e-3, "rms": 1e-6}
_NAMES = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
_KNOWN = (*_ROLES, "Dense", *(f"Conv{n}D" for n in (1, 2, 3)), "DepthwiseConv1D", "DepthwiseConv2D")


def to_keras(layer: nn.Module) -> ForeignLayer:
    """Say what a layer is in Keras: class, arguments, arrays in the order of ``set_weights``.

    ``keras.layers.X(**config)``, built for channels last, with these arrays computes in evaluation what the layer does.
    Keras's momentum is the weight of the old statistics, ``1 − momentum``; its moving variance takes the biased
    variance of a batch (torch's the unbiased one), which matters from the next training step on. Kernels are (*, in,
    out) there. Instance normalization is ``GroupNormalization`` with as many groups as channels.

    Args:
        layer: batch, layer, group, instance or RMS normalization, linear or convolution, of torch's or normwise's.

    Raises:
        ArgumentError: (a ValueError) another layer, one with a norm inside, as `insert` makes them, a weight
            that is computed, or what Keras has not: a momentum of None, running statistics of
            instances, several normalized axes, padding other than none or "same" with steps of 1.

    >>> layer = nn.BatchNorm2d(2, momentum=0.25)
    >>> foreign = to_keras(layer)
    >>> foreign.kind, foreign.config["momentum"], list(foreign.weights)
    ('BatchNormalization', 0.75, ['gamma', 'beta', 'moving_mean', 'moving_variance'])
    """
    plain = read("to_keras", layer)
    if plain.role in _NORMS:
        return _norm_to(plain)
    weight = plain.arrays["weight"]
    # (out, in, *) → (*, in, out)
    kernel = np.ascontiguousarray(np.transpose(weight, (*range(2, weight.ndim), 1, 0)))
    weights = {"kernel": kernel} | {name: value for name, value in plain.arrays.items() if name == "bias"}
    config: dict[str, Any] = {"use_bias": "bias" in weights}
    if plain.role == "linear":
        return ForeignLayer("Dense", {"units": plain.channels} | config, weights, plain.channels)
    config |= {
        "filters": plain.channels,
        "kernel_size": weight.shape[2:],
        "strides": plain.stride,
        "padding": _padding_to(plain),
        "dilation_rate": plain.dilation,
        "groups": plain.groups,
    }
    return ForeignLayer(f"Conv{plain.rank}D", config, weights, plain.channels)


def from_keras(
    layer: Any,
    config: Mapping[str, Any] | None = None,
    weights: Mapping[str, Any] | None = None,
    *,
    rank: int | None = None,
    channels_first: bool = False,
) -> nn.Module:
    """Build the layer that computes what a layer of Keras does; the way back of `to_keras`.

    Batch normalization becomes normwise's, whose running variance takes the biased variance, as Keras's does, with
    channels on axis 1. Layer and RMS normalization go over the last axis, or over axis 1 with `channels_first`. A bias
    without a weight is one beside a weight of ones that does not learn.

    Args:
        layer: a built layer of Keras, a `ForeignLayer`, or the name of a class.
        config: arguments of the class, where `layer` is its name; what is missing is Keras's default.
        weights: arrays by Keras's names, where `layer` is a name.
        rank: axes of positions; known of a built layer, and of a convolution. Batch normalization takes 1 without it.
        channels_first: for layer and RMS normalization of images that are (N, C, *) here.

    Raises:
        UnknownNameError: the class is not known.
        ArgumentError: (a ValueError) a layer that is not built, arrays that do not fit, or what torch does not have:
            renormalization, several axes, causal or uneven padding, an activation in the layer.

    >>> keras_layer = ForeignLayer("Dense", {"units": 3}, {"kernel": np.ones((2, 3)), "bias": np.zeros(3)})
    >>> from_keras(keras_layer)
    Linear(in_features=2, out_features=3, bias=True)
    """
    foreign, known_rank = _given(layer, config, weights)
    rank = known_rank if rank is None else rank
    if rank not in (None, 1, 2, 3):
        raise ArgumentError(explain("from_keras", "`rank` must be 1, 2 or 3", repr(rank)))
    return build("from_keras", _read(foreign, rank), channels_first)


def _norm_to(plain: Plain) -> ForeignLayer:
    config: dict[str, Any] = {"axis": -1, "epsilon": plain.eps}
    arrays = dict(plain.arrays)
    if plain.role == "rms":  # which always has a scale in Keras
        return ForeignLayer(
            _NORMS["rms"],
            config,
            {"scale": arrays.get("weight", np.ones(plain.channels, np.float32))},
            plain.channels,
        )
    config |= {"center": "bias" in arrays, "scale": "weight" in arrays}
    if plain.role == "batch":
        config["momentum"] = 1.0 - plain.momentum
    if plain.role == "group":
        config["groups"] = plain.groups
    weights = {new: arrays[old] for old, new in _NAMES.items() if old in arrays}
    return ForeignLayer(_NORMS[plain.role], config, weights, plain.channels)


def _padding_to(plain: Plain) -> str:
    if not any(sum(pair) for pair in plain.padding):
        return "valid"
    kernel = plain.arrays["weight"].shape[2:]
    totals = [d * (k - 1) for d, k in zip(plain.dilation, kernel, strict=True)]
    same = tuple((total // 2, total - total // 2) for total in totals)
    if plain.padding == same and all(step == 1 for step in plain.stride):
        return "same"
    raise ArgumentError(
        explain(
            "to_keras",
            'a convolution must have no padding, or "same" with steps of 1',
            f"padding {plain.padding} with steps {plain.stride}",
            f"convert a copy without padding, and put keras.layers.ZeroPadding{plain.rank}D before it",
        )
    )


def _given(
    layer: Any, config: Mapping[str, Any] | None, weights: Mapping[str, Any] | None
) -> tuple[ForeignLayer, int | None]:
    """The layer as a record, and its rank as far as it is known."""
    who = "from_keras"
    if isinstance(layer, str):
        layer = ForeignLayer(layer, config or {}, {k: as_array(v) for k, v in (weights or {}).items()})
    if isinstance(layer, ForeignLayer):
        if layer.kind not in _KNOWN:
            raise unknown_name(who, "layer", layer.kind, _KNOWN)
        return layer, None
    kind = type(layer).__name__
    if not hasattr(layer, "get_config") or not hasattr(layer, "weights"):
        must = "`layer` must be a layer of Keras, a ForeignLayer, or the name of a class"
        raise ArgumentError(explain(who, must, f"a {kind}"))
    if kind not in _KNOWN:
        raise unknown_name(who, "layer", kind, _KNOWN)
    if not layer.built:
        raise ArgumentError(
            explain(who, "the layer must be built", "one without weights", "call build(shape)")
        )
    # Keras names a variable after its role, whatever the layer is called.
    arrays = {variable.name: as_array(variable.value) for variable in layer.weights}
    dims = getattr(layer.input_spec, "ndim", None)
    return ForeignLayer(kind, layer.get_config(), arrays), None if dims is None else max(dims - 2, 1)


def _read(foreign: ForeignLayer, rank: int | None) -> Plain:
    who, config = "from_keras", foreign.config
    role = _ROLES.get(foreign.kind)
    if role is None:
        return _read_weighted(foreign)
    for option in ("renorm", "synchronized", "rms_scaling"):
        if config.get(option):
            raise ArgumentError(explain(who, f"`{option}` must be off", f"{config[option]}"))
    axis = config.get("axis", -1)
    axes = list(axis) if isinstance(axis, list | tuple) else [axis]
    if len(axes) != 1:
        raise ArgumentError(explain(who, "statistics must be of one axis of channels", f"axis={axis}"))
    names = _NAMES if role != "rms" else {"weight": "scale"}
    arrays: Arrays = {
        old: as_array(foreign.weights[new]) for old, new in names.items() if new in foreign.weights
    }
    first: Any = next(iter(arrays.values()), None)
    if first is None and foreign.channels is None:
        must = "the layer must have an array, which tells its channels"
        raise ArgumentError(explain(who, must, "none", "give a ForeignLayer with `channels`"))
    channels: Any = foreign.channels if first is None else first.shape[-1]
    groups = int(config.get("groups", 32))
    eps = float(config.get("epsilon", _EPSILON[role]))
    momentum = 1.0 - float(config.get("momentum", 0.99))
    return Plain(role, arrays, channels, eps, momentum, channels if groups == -1 else groups, rank)


def _read_weighted(foreign: ForeignLayer) -> Plain:
    who, config = "from_keras", foreign.config
    activation = config.get("activation", "linear")
    if activation not in (None, "linear"):
        must = "a layer must have no activation of its own"
        raise ArgumentError(
            explain(who, must, f"{activation!r}", "put torch's behind it, and convert with 'linear'")
        )
    if "kernel" not in foreign.weights:
        raise ArgumentError(explain(who, "the layer must have a `kernel`", f"{list(foreign.weights)}"))
    kernel = as_array(foreign.weights["kernel"])
    groups = int(config.get("groups", 1))
    if foreign.kind.startswith("Depthwise"):
        # (*, in, multiplier) → (*, 1, in · multiplier), each input channel a group.
        groups = kernel.shape[-2]
        kernel = kernel.reshape(*kernel.shape[:-2], 1, -1)
    weight = np.ascontiguousarray(
        np.transpose(kernel, (kernel.ndim - 1, kernel.ndim - 2, *range(kernel.ndim - 2)))
    )
    arrays: Arrays = {"weight": weight}
    if "bias" in foreign.weights:
        arrays["bias"] = as_array(foreign.weights["bias"])
    channels, rank = weight.shape[0], weight.ndim - 2
    if foreign.kind == "Dense":
        return Plain("linear", arrays, channels)
    stride, dilation = (_each(config.get(name, 1), rank) for name in ("strides", "dilation_rate"))
    padding = str(config.get("padding", "valid"))
    totals = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    if padding == "valid":
        pairs = tuple((0, 0) for _ in totals)
    elif padding == "same" and all(step == 1 for step in stride):
        pairs = tuple((total // 2, total - total // 2) for total in totals)
    else:
        must = 'padding must be "valid", or "same" with steps of 1'
        hint = 'with longer steps "same" depends on the input\'s size: pad in a layer of its own'
        raise ArgumentError(explain(who, must, f"{padding!r} with steps {stride}", hint))
    return Plain(
        "convolution",
        arrays,
        channels,
        groups=groups,
        rank=rank,
        stride=stride,
        padding=pairs,
        dilation=dilation,
    )


def _each(value: Any, rank: int) -> tuple[int, ...]:
    return (int(value),) * rank if isinstance(value, int) else tuple(int(each) for each in value)
