"""A layer as numbers and arrays in torch's conventions: what stands between torch and other frameworks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm

from normwise import layers
from normwise.errors import ArgumentError, explain
from normwise.layers._fused import Fused
from normwise.layers.batch_norm import keras_batch_norm
from normwise.layers.normalized import Normalized
from normwise.surgery._sites import is_ours, is_torchs

Arrays = dict[str, NDArray[Any]]

_LAYER_OVER_CHANNELS = (layers.LayerNorm1d, layers.LayerNorm2d, layers.LayerNorm3d)
_RMS_OVER_CHANNELS = (layers.RMSNorm1d, layers.RMSNorm2d, layers.RMSNorm3d)
_CONVOLUTIONS: dict[int, type[_ConvNd]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@dataclass(frozen=True, eq=False)
class Plain:
    """One layer.

    Attributes:
        role: "batch", "layer", "group", "rms", "linear" or "convolution".
        arrays: `weight`, `bias`, `running_mean`, `running_var` in torch's shapes, those that the layer has.
        channels: the length of the axis that is normalized or kept apart, of a linear layer that of the output.
        eps: of a normalization.
        momentum: the weight of the new batch.
        groups: of group normalization and convolutions.
        rank: axes of positions; None where it does not matter.
        stride: of a convolution, for each axis of positions.
        padding: of a convolution, before and after, for each axis of positions.
        dilation: of a convolution, for each axis of positions.
    """

    role: str
    arrays: Arrays
    channels: int
    eps: float = 0.0
    momentum: float = 0.1
    groups: int = 1
    rank: int | None = None
    stride: tuple[int, ...] = ()
    padding: tuple[tuple[int, int], ...] = field(default=())
    dilation: tuple[int, ...] = ()


def read(who: str, layer: nn.Module) -> Plain:
    """The layer as `Plain`.

    Raises:
        ArgumentError: (a ValueError) it is none of those that other frameworks have, or not in their way.
    """
    any_layer: Any = layer
    if not isinstance(layer, nn.Module) or not (is_torchs(layer) or is_ours(layer) or _is_normwises(layer)):
        raise _refused(
            who, layer, "batch, layer, group, instance and RMS normalization, linear and convolution"
        )
    if hasattr(layer, "parametrizations"):
        hint = "remove the parametrization first: bake_weights_, or torch.nn.utils.parametrize"
        raise ArgumentError(explain(who, "weights must be parameters", "parametrized ones", hint))
    if isinstance(layer, Normalized):
        must = "the layer must be one operation"
        hint = (
            "`normwise.fold` takes a batch normalization into the weights; else give `layer.norm` by itself"
        )
        raise ArgumentError(explain(who, must, f"a {type(layer).__name__}, which holds a norm", hint))
    computed = next((name for name in ("weight", "bias") if isinstance(vars(layer).get(name), Tensor)), None)
    if computed is not None:
        must = f"`{computed}` must be a parameter"
        got = "one that a hook computes, as weight_norm, spectral_norm and pruning of torch.nn.utils do"
        hint = "make it permanent first: remove_weight_norm, remove_spectral_norm, prune.remove"
        raise ArgumentError(explain(who, must, got, hint))
    arrays = {name: _array(t) for name, t in layer.state_dict().items() if name != "num_batches_tracked"}
    if isinstance(layer, _BatchNorm):
        if "running_mean" not in arrays or any_layer.momentum is None:
            must = "running statistics with a momentum are needed, as other frameworks have them"
            got = "momentum=None" if "running_mean" in arrays else "track_running_stats=False"
            raise ArgumentError(explain(who, must, got, "set_statistics sets either"))
        momentum = float(any_layer.momentum)
        return Plain("batch", arrays, any_layer.num_features, any_layer.eps, momentum, rank=_rank_of(layer))
    if isinstance(layer, _InstanceNorm):
        if any_layer.track_running_stats:
            must = "instance normalization must not keep running statistics"
            raise ArgumentError(explain(who, must, "track_running_stats=True", "set_statistics sets it"))
        channels = any_layer.num_features
        return Plain("group", arrays, channels, any_layer.eps, groups=channels)
    if isinstance(layer, nn.GroupNorm):
        return Plain("group", arrays, layer.num_channels, layer.eps, groups=layer.num_groups)
    if isinstance(layer, _LAYER_OVER_CHANNELS + _RMS_OVER_CHANNELS):
        role = "layer" if isinstance(layer, _LAYER_OVER_CHANNELS) else "rms"
        return Plain(role, arrays, any_layer.num_channels, _eps_of(any_layer))
    if isinstance(layer, nn.LayerNorm | nn.RMSNorm):
        shape = tuple(layer.normalized_shape)
        if len(shape) != 1:
            must = "the normalized shape must be one axis: with several, their order is another elsewhere"
            raise ArgumentError(explain(who, must, f"{shape}"))
        return Plain(
            "layer" if isinstance(layer, nn.LayerNorm) else "rms", arrays, shape[0], _eps_of(any_layer)
        )
    if isinstance(layer, nn.Linear):
        return Plain("linear", arrays, layer.out_features)
    if type(layer) in _CONVOLUTIONS.values():
        return _read_convolution(who, any_layer, arrays)
    raise _refused(who, layer, "batch, layer, group, instance and RMS normalization, linear and convolution")


def _read_convolution(who: str, layer: Any, arrays: Arrays) -> Plain:
    if layer.padding_mode != "zeros":
        raise ArgumentError(explain(who, "padding must be by zeros", repr(layer.padding_mode)))
    totals = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    padding: Any = layer.padding
    if padding == "valid":
        padding = [(0, 0)] * len(totals)
    elif padding == "same":
        padding = [(total // 2, total - total // 2) for total in totals]
    else:
        padding = [(p, p) for p in padding]
    return Plain(
        "convolution",
        arrays,
        layer.out_channels,
        groups=layer.groups,
        rank=len(totals),
        stride=tuple(layer.stride),
        padding=tuple(padding),
        dilation=tuple(layer.dilation),
    )


def build(who: str, plain: Plain, channels_first: bool) -> nn.Module:
    """A layer of torch's or normwise's with these numbers and arrays."""
    dtype = torch.from_numpy(next(iter(plain.arrays.values()), np.zeros(0, np.float32))).dtype
    weight, bias = "weight" in plain.arrays, "bias" in plain.arrays
    options: dict[str, Any] = {"bias": bias, "dtype": dtype}
    layer: Any
    if plain.role == "batch":
        layer = keras_batch_norm(
            plain.channels,
            plain.rank or 1,
            momentum=1.0 - plain.momentum,
            epsilon=plain.eps,
            center=bias,
            scale=weight,
            dtype=dtype,
        )
        layer.momentum = plain.momentum  # not rounded twice
    elif plain.role in ("layer", "rms"):
        kinds: Any = (_LAYER_OVER_CHANNELS if plain.role == "layer" else _RMS_OVER_CHANNELS)[
            (plain.rank or 1) - 1
        ]
        if channels_first and plain.rank is None:
            raise ArgumentError(
                explain(who, "`rank` must be given for channels first", "None", "2 for images")
            )
        if not channels_first:
            kinds = layers.LayerNorm if plain.role == "layer" else layers.RMSNorm
        more = options if plain.role == "layer" else {"dtype": dtype}
        layer = kinds(plain.channels, eps=plain.eps, elementwise_affine=weight or bias, **more)
    elif plain.role == "group":
        layer = layers.GroupNorm(plain.groups, plain.channels, plain.eps, weight or bias, **options)
    elif plain.role == "linear":
        layer = nn.Linear(plain.arrays["weight"].shape[1], plain.channels, **options)
    else:
        layer = _convolution(who, plain, options)
    state = {name: torch.from_numpy(np.array(values)) for name, values in plain.arrays.items()}
    known = layer.state_dict()
    if bias and not weight and "weight" in known:
        # torch has no bias without a weight: one of ones that does not learn is the same.
        layer.weight.requires_grad_(False)
    for name, values in state.items():
        if name not in known or known[name].shape != values.shape:
            expected = tuple(known[name].shape) if name in known else "none"
            raise ArgumentError(
                explain(who, f"`{name}` must have the shape {expected}", f"{tuple(values.shape)}")
            )
    layer.load_state_dict(known | state)
    return layer  # type: ignore[no-any-return]


def _convolution(who: str, plain: Plain, options: dict[str, Any]) -> nn.Module:
    weight, rank = plain.arrays["weight"], plain.rank or 1
    padding: Any = [before for before, _ in plain.padding]
    if any(before != after for before, after in plain.padding):
        totals = [d * (k - 1) for d, k in zip(plain.dilation, weight.shape[2:], strict=True)]
        halves = tuple((total // 2, total - total // 2) for total in totals)
        if plain.padding != halves or any(step != 1 for step in plain.stride):
            must = "padding must be the same before and after"
            raise ArgumentError(
                explain(who, must, f"{plain.padding}", "pad in a layer of its own: nn.ZeroPad2d")
            )
        padding = "same"
    kind: Any = _CONVOLUTIONS[rank]
    layer: nn.Module = kind(
        weight.shape[1] * plain.groups,
        plain.channels,
        weight.shape[2:],
        plain.stride,
        padding,
        plain.dilation,
        plain.groups,
        **options,
    )
    return layer


def as_array(values: Any) -> NDArray[Any]:
    """Any framework's array as one of numpy's that torch can read."""
    if isinstance(values, Tensor):
        return _array(values)
    array = np.asarray(values)
    return array.astype(np.float32) if array.dtype.kind != "f" else array


def _array(tensor: Tensor) -> NDArray[Any]:
    # numpy has no bfloat16.
    tensor = tensor.detach().cpu()
    array: NDArray[Any] = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy().copy()
    return array


def _eps_of(layer: Any) -> float:
    # torch's RMSNorm takes the dtype's where it is None.
    dtype = torch.get_default_dtype() if layer.weight is None else layer.weight.dtype
    return float(torch.finfo(dtype).eps if layer.eps is None else layer.eps)


def _rank_of(layer: nn.Module) -> int | None:
    ranks = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
    return next((rank for rank, kind in ranks.items() if isinstance(layer, kind)), None)


def _is_normwises(layer: nn.Module) -> bool:
    return type(layer).__module__.startswith("normwise.layers")


def _refused(who: str, layer: Any, known: str) -> ArgumentError:
    hint = "take a fused layer apart with `decelerate`" if isinstance(layer, Fused) else None
    return ArgumentError(explain(who, f"the layer must be one of {known}", f"a {type(layer).__name__}", hint))
