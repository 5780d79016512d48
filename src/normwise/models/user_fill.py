"""What the parameters of a builder are given: by their names, by those that other repositories use for the same."""

from __future__ import annotations

import collections.abc
import inspect
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import Parameter
from typing import Any, Literal, get_args, get_origin

from torch import nn

from normwise.models.activation import make_activation
from normwise.models.norm import NORMS
from normwise.models.user_norm import NormFactory
from normwise.models.user_parameters import Parameters

Role = Literal["outputs", "channels", "columns", "shape", "side", "norm", "activation", "dropout"]

_NAMES: dict[Role, str] = {
    "outputs": "out_features num_classes n_classes classes n_class num_class class_num nb_classes output_dim "
    "out_dim dim_out output_size out_size num_outputs n_outputs n_out num_labels n_labels out_channels "
    "d_out c_out ch_out output_features num_output n_output n_targets num_targets outputs",
    "channels": "in_channels in_chans channels_in in_channel in_ch input_channels image_channels img_channels "
    "num_input_channels num_channels n_channels c_in ch_in channel_in channels",
    "columns": "in_features input_dim in_dim dim_in input_size in_size num_features n_features input_features "
    "num_inputs n_inputs n_input num_input n_in d_in d_numerical n_num_features num_numerical_features inputs",
    "shape": "in_shape input_shape image_shape img_shape",
    "side": "image_size img_size",
    "norm": "norm norm_layer normalization normalization_layer norm_type norm_name",
    "activation": "activation act act_layer activation_layer act_fn activation_fn nonlinearity",
    "dropout": "dropout p drop_rate dropout_rate drop dropout_p p_dropout dropout_prob drop_prob",
}
_ROLES: dict[str, Role] = {
    name.replace("_", ""): role for role, names in _NAMES.items() for name in names.split()
}
_WIDTHS = ("numfeatures", "nfeatures", "numchannels", "nchannels")
"""Names that networks for images often have for their own width."""

_CHANNELS = "channels"
"""Most often a width; a transformer that asks for the size of the images means theirs."""

_CLASSES = ("normlayer", "normalizationlayer", "act", "actlayer", "activationlayer")
"""Names that stand for a class or factory where nothing else is said of them."""

_PLAIN: tuple[str, ...] = ("norm", "activation", "in_features", "out_features")
VARIED: tuple[Role, ...] = ("norm", "activation", "dropout")


@dataclass(frozen=True)
class Facts:
    """What there is to hand over.

    Attributes:
        in_shape: (F,) for rows, (C, H, W) for images.
        out_features: number of classes, or 1 for regression.
        norm: a variant's normalization.
        activation: by name, or None for the model's own.
        dropout: a variant's rate; 0 leaves the model's own.
    """

    in_shape: tuple[int, ...]
    out_features: int
    norm: str = "none"
    activation: str | None = None
    dropout: float = 0.0

    @property
    def images(self) -> bool:
        """Whether the inputs are images."""
        return len(self.in_shape) == 3


@dataclass(frozen=True)
class Filled:
    """Arguments for a builder.

    Attributes:
        values: by name.
        said: how each is written in a note.
        missing: required parameters that nobody fills.
    """

    values: dict[str, Any]
    said: dict[str, str]
    missing: tuple[str, ...]


def role_of(parameter: Parameter) -> Role | None:
    """What a parameter stands for, by its name, annotation and default; None for one of the model's own."""
    name = _plain(parameter.name)
    role = _ROLES.get(name)
    if role is None:
        return None
    kinds = _kinds(parameter)
    if role in ("outputs", "channels"):
        return role if kinds <= {int, None} else None
    if role == "columns":
        return role if kinds <= {int, tuple, None} else None
    if role == "dropout":
        return role if kinds <= {float, int, None} else None
    if role == "norm" and (bool in kinds or (str in kinds and not _is_known_norm(parameter))):
        return None
    if role == "activation" and (bool in kinds or (name in ("actfn", "activationfn") and not kinds - {None})):
        return None
    return role


def is_norm(parameter: Parameter) -> bool:
    """Whether a parameter stands for the normalization by its name, whatever values it takes."""
    return _ROLES.get(_plain(parameter.name)) == "norm"


def varied(parameters: Parameters, fixed: Mapping[str, Any]) -> frozenset[str]:
    """Which of norm, activation and dropout a builder takes, and no argument of the user's fixes."""
    found: set[str | None] = {role_of(p) for name, p in parameters.named.items() if name not in fixed}
    if parameters.anything:
        found |= {"norm", "activation"} - {role_of(Parameter(n, _KEYWORD)) for n in fixed}
    return frozenset(role for role in VARIED if role in found)


def fill(parameters: Parameters, fixed: Mapping[str, Any], facts: Facts) -> Filled:
    """Give every parameter what stands behind its name; those of the user's own arguments keep theirs."""
    values: dict[str, Any] = dict(fixed)
    said = {name: f"{name}={getattr(value, '__name__', repr(value))}" for name, value in fixed.items()}
    taken = dict(parameters.named)
    if parameters.anything:
        taken |= {name: Parameter(name, _KEYWORD) for name in _PLAIN if name not in taken}
    names = {_plain(name) for name in taken}
    missing = []
    for name, parameter in taken.items():
        if name in fixed:
            continue
        role = role_of(parameter)
        found = None if role is None else _value(role, parameter, facts, names)
        if found is not None:
            values[name], said[name] = found[0], f"{name}={found[1]}"
        elif parameter.default is Parameter.empty and name in parameters.named:
            missing.append(name)
    return Filled(values, said, tuple(missing))


_KEYWORD = Parameter.KEYWORD_ONLY
_Found = tuple[Any, str] | None


def _value(role: Role, parameter: Parameter, facts: Facts, names: set[str]) -> _Found:
    """The value for a role and how it is written; None where the parameter is to keep its default."""
    required = parameter.default is Parameter.empty
    name = _plain(parameter.name)
    size = math.prod(facts.in_shape)
    match role:
        case "outputs":
            return facts.out_features, f"{facts.out_features}"
        case "channels" | "columns" if facts.images and name in _WIDTHS and not required:
            if parameter.default not in (1, 3):
                return None
            return facts.in_shape[0], f"{facts.in_shape[0]}"
        case "channels" if name == _CHANNELS:
            theirs = parameter.default in (1, 3) or (required and any(_ROLES.get(n) == "side" for n in names))
            return (facts.in_shape[0], f"{facts.in_shape[0]}") if facts.images and theirs else None
        case "channels":
            return facts.in_shape[0], f"{facts.in_shape[0]}"
        case "columns" if facts.images and name in ("inputsize", "insize") and _has_channels(names):
            return _side(parameter, facts)
        case "columns":
            if get_origin(parameter.annotation) is tuple or isinstance(parameter.default, tuple):
                return facts.in_shape, f"{facts.in_shape}"
            return size, f"{size}"
        case "shape":
            return facts.in_shape, f"{facts.in_shape}"
        case "side":
            return _side(parameter, facts) if facts.images else None
        case "norm":
            if _wants_class(parameter):
                return NormFactory(
                    facts.norm, 2 if facts.images else 1
                ), f"a factory of {facts.norm!r} layers"
            return facts.norm, repr(facts.norm)
        case "activation":
            chosen = facts.activation or ("relu" if required else None)
            return None if chosen is None else _activation(chosen, parameter)
        case "dropout":
            rate = facts.dropout
            return (rate, f"{rate:g}") if rate or required else None


def _activation(chosen: str, parameter: Parameter) -> _Found:
    module = make_activation(chosen, "compare")
    default = parameter.default
    if isinstance(default, nn.Module):
        return module, f"{module}"
    if inspect.isroutine(default):  # such as torch.relu
        return module.forward, chosen
    if _wants_class(parameter):
        return type(module), f"nn.{type(module).__name__}"
    return chosen, repr(chosen)


def _side(parameter: Parameter, facts: Facts) -> _Found:
    height, width = facts.in_shape[1:]
    both = isinstance(parameter.default, tuple | list) or get_origin(parameter.annotation) is tuple
    value: Any = height if height == width and not both else (height, width)
    return value, f"{value}"


def _has_channels(names: set[str]) -> bool:
    return any(_ROLES.get(name) == "channels" and name != _CHANNELS for name in names)


def _wants_class(parameter: Parameter) -> bool:
    """Whether a parameter takes a class or factory rather than a name."""
    default = parameter.default
    if default is not Parameter.empty and default is not None:
        return callable(default) and not isinstance(default, nn.Module)
    kinds = _kinds(parameter)
    if type in kinds:
        return True
    return str not in kinds and _plain(parameter.name) in _CLASSES


def _kinds(parameter: Parameter) -> set[Any]:
    """The plain types that a parameter names, as builtins; `type` stands for classes and callables."""
    default = parameter.default
    if default is not Parameter.empty and default is not None:
        return {type if callable(default) else type(default)}
    annotation = parameter.annotation
    if annotation is Parameter.empty or annotation is Any or isinstance(annotation, str):
        return set()
    union = get_origin(annotation) in (typing.Union, types.UnionType)
    return {_kind(part) for part in (get_args(annotation) if union else (annotation,))}


def _kind(part: Any) -> Any:
    if part is type(None):
        return None
    origin = get_origin(part) or part
    if origin in (type, collections.abc.Callable):
        return type
    if isinstance(origin, type):
        return type if issubclass(origin, nn.Module) else origin
    return str if origin is Literal else type


def _is_known_norm(parameter: Parameter) -> bool:
    default = parameter.default
    return not isinstance(default, str) or default.partition(":")[0] in NORMS


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
