"""Optimizer parameter groups that leave norms, biases and gains without weight decay."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.parametrize import ParametrizationList

from normwise import layers
from normwise.errors import ArgumentError, explain

_WEIGHT_NORMS: tuple[type[nn.Module], ...] = (_WeightNorm, layers.WeightNorm)
_NORMS: tuple[type[nn.Module], ...] = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_WEIGHTED: tuple[type[nn.Module], ...] = (
    nn.Linear,
    nn.Bilinear,
    _ConvNd,
    nn.Embedding,
    nn.EmbeddingBag,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
)
_OURS = "normwise.layers"
_NORM_NAME = re.compile("Norm|norm$|RMS|GRN|FRN|ABN|DyT|DynamicTanh|Affine|LayerScale")
_BIAS_NAME = re.compile(r"(^|_)bias(es)?(_|$)")


def parameter_groups(
    model: nn.Module, weight_decay: float, *, embeddings: bool = True, exempt: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Split the trainable parameters of a model into those with weight decay and those without.

    Without decay are

    - the parameters of normalization layers. torch's and normwise's are known by class; those of other packages
      (timm, transformers, apex, flash-attn, …) by a name of the class or of one of its bases: it holds ``Norm``,
      ``RMS``, ``GRN``, ``FRN``, ``ABN``, ``DyT``, ``DynamicTanh``, ``Affine`` or ``LayerScale``, the class is no
      linear layer, convolution, embedding, recurrence or attention of torch's, and the parameter has one axis longer
      than 1 at most, or the module's `normalized_shape`;
    - everything with one dimension at most (PReLU slopes, layer scales, gates);
    - everything with three or more, of which one is longer than 1 at most: gains (C, 1, 1, 1), layer scales (C, 1, 1),
      class tokens (1, 1, C); but not what is called weight in a layer of torch's;
    - biases: the name of the parameter has the word ``bias`` or ``biases`` in it, such as ``attention_biases`` or
      ``relative_position_bias_table``;
    - the gains of weight normalization, which are to the effective weight what the scale is to a norm;
    - what a module lists in a method `no_weight_decay`, as timm's models do (mostly ``pos_embed``), and parameters
      with a true attribute `_no_weight_decay`, as in state space models;
    - what matches a pattern in `exempt`.

    Everything else decays: the weights of linear layers and convolutions, the directions of weight normalization,
    embeddings, learned positions that the model does not list, and relative positions kept in an embedding. Every
    trainable parameter appears exactly once; one that is shared (an embedding tied to the output layer) decays only
    if all its owners agree.

    Args:
        model: the network.
        weight_decay: the factor for the group that decays, finite and ≥ 0.
        embeddings: whether the weights of `nn.Embedding` and `nn.EmbeddingBag` decay.
        exempt: patterns of dotted names, as of files (``"*pos_embed"``), of more parameters without decay.

    Returns:
        One or two groups (an empty one is left out) to hand to any torch optimizer, each with the keys
        ``params`` and ``weight_decay``, in the order of ``model.named_parameters()``.

    Raises:
        ArgumentError: `weight_decay` is wrong, the model has no trainable parameter, or none has a name that matches
            a pattern.

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
    named = _listed(model) | _matching(model, exempt)
    decays: dict[nn.Parameter, bool] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                wanted = (
                    id(parameter) not in named
                    and (embeddings or not isinstance(module, nn.Embedding | nn.EmbeddingBag))
                    and _decays(module, name, parameter)
                )
                decays[parameter] = decays.get(parameter, True) and wanted
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
    if parameter.ndim <= 1 or _BIAS_NAME.search(name) or isinstance(owner, _NORMS):
        return False
    if isinstance(owner, ParametrizationList):
        return not (name == "original0" and any(isinstance(step, _WEIGHT_NORMS) for step in owner))
    is_weighted = isinstance(owner, _WEIGHTED)
    if not is_weighted and any(kind.__module__.startswith(_OURS) for kind in type(owner).__mro__):
        return False
    is_vector = sum(extent > 1 for extent in parameter.shape) <= 1
    if is_vector and parameter.ndim > 2 and not (is_weighted and name.startswith("weight")):
        return False
    has_norm_shape = tuple(parameter.shape) == getattr(owner, "normalized_shape", None)
    return is_weighted or not ((is_vector or has_norm_shape) and _is_called_norm(owner))


def _is_called_norm(module: nn.Module) -> bool:
    return any(_NORM_NAME.search(kind.__name__) for kind in type(module).__mro__)


def _listed(model: nn.Module) -> set[int]:
    """The parameters that the model's authors want without decay, by id."""
    found = {id(p) for p in model.parameters() if getattr(p, "_no_weight_decay", False)}
    for module in model.modules():
        listing = getattr(module, "no_weight_decay", None)
        if callable(listing):
            names = set(listing())
            found |= {id(p) for n, p in module.named_parameters(remove_duplicate=False) if n in names}
    return found


def _matching(model: nn.Module, patterns: Sequence[str]) -> set[int]:
    """The parameters whose names match a pattern, by id."""
    patterns = (patterns,) if isinstance(patterns, str) else patterns
    named = list(model.named_parameters(remove_duplicate=False))
    found: set[int] = set()
    for pattern in patterns:
        hits = {id(p) for n, p in named if fnmatchcase(n, pattern)}
        if not hits:
            raise ArgumentError(
                explain(
                    "parameter_groups",
                    "every pattern in `exempt` must match a parameter",
                    repr(pattern),
                    'write "*pos_embed" for a name at any depth',
                )
            )
        found |= hits
    return found
