"""Optimizer parameter groups that leave norms, biases and gains without weight decay."""

from __future__ import annotations

import math
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.parametrize import ParametrizationList

from normwise import layers
from normwise.errors import ArgumentError, explain

_WEIGHT_NORMS: tuple[type[nn.Module], ...] = (_WeightNorm, layers.WeightNorm)
# Of ours, some forms (over channels, fused) are no subclasses of torch's.
_NORMS: tuple[type[nn.Module], ...] = (
    _NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    *(
        getattr(layers, name)
        for name in layers.__all__
        if "Norm" in name and name[0].isupper() and name != "WeightNorm"
    ),
)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split the trainable parameters of a model into those with weight decay and those without.

    Without decay are

    - the parameters of normalization layers, of whatever shape;
    - biases, and everything else with at most one dimension (PReLU slopes, layer scales);
    - the gains of weight normalization, which are to the effective weight what the scale is to a norm.

    Everything else (weights of linear layers, convolutions and embeddings, the directions of weight
    normalization) decays. Every trainable parameter appears exactly once; one that is shared decays only if
    all its owners agree.

    Args:
        model: the network.
        weight_decay: the factor for the group that decays, finite and ≥ 0.

    Returns:
        One or two groups (an empty one is left out) to hand to any torch optimizer, each with the keys
        ``params`` and ``weight_decay``, in the order of ``model.named_parameters()``.

    Raises:
        ArgumentError: `weight_decay` is wrong, or the model has no trainable parameter.

    Source: the practice described by He et al., "Bag of tricks for image classification", 2019, section 3.1.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
        >>> [(len(g["params"]), g["weight_decay"]) for g in parameter_groups(model, 0.01)]
        [(1, 0.01), (3, 0.0)]
    """
    if not (math.isfinite(weight_decay) and weight_decay >= 0):
        raise ArgumentError(
            explain("parameter_groups", "`weight_decay` must be finite and not negative", repr(weight_decay))
        )
    decays: dict[nn.Parameter, bool] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                decays[parameter] = decays.get(parameter, True) and _decays(module, name, parameter)
    if not decays:
        raise ArgumentError(
            explain(
                "parameter_groups",
                "`model` must have a trainable parameter",
                f"a {type(model).__name__} without one",
                "set requires_grad_(True) on what is to be trained",
            )
        )
    groups = [
        {"params": [p for p, wanted in decays.items() if wanted], "weight_decay": float(weight_decay)},
        {"params": [p for p, wanted in decays.items() if not wanted], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _decays(owner: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    if isinstance(owner, _NORMS) or parameter.ndim <= 1 or name.split(".")[-1] == "bias":
        return False
    if isinstance(owner, ParametrizationList) and any(isinstance(step, _WEIGHT_NORMS) for step in owner):
        return name != "original0"
    return True
