"""Normalizations of normwise as source text, from the table of their names."""

from __future__ import annotations

from typing import Any

from torch import nn

from normwise.compare.snippets.stages import Stage
from normwise.compare.snippets.text import call, number
from normwise.norms import kind_of_layer


def normalization_text(module: nn.Module, channels: str | None, groups: str | None) -> str | None:
    """The call that makes a layer of `normwise.norms`; None for any other.

    Args:
        module: the layer.
        channels, groups: expressions for its numbers of channels and groups; None writes its own.
    """
    name = type(module).__name__
    kind = kind_of_layer(name)
    if kind is None:
        return None
    first = None if kind.width is None else channels or str(_channels(module))
    keywords = [*kind.options, *(kind.number.keywords if kind.number is not None else ())]
    given = (f"{key}={_value(getattr(module, key))}" for key in keywords)
    if kind.number is not None and kind.number.divides and groups is not None:
        given = (f"{key}={groups}" for key in keywords)
    return call(f"nw.{name}", first, *given)


def groups_of(module: nn.Module) -> int | None:
    """The number of groups of a normalization that has some."""
    kind = kind_of_layer(type(module).__name__)
    if kind is None or kind.number is None or not kind.number.divides:
        return None
    (keyword,) = kind.number.keywords
    found: int = getattr(module, keyword)
    return found


def groups_in(stage: Stage) -> str | None:
    """The number of groups of a stage's normalization, as text."""
    found = (groups_of(module) for module in stage.modules)
    return next((str(groups) for groups in found if groups is not None), None)


def varying_groups(stages: tuple[Stage, ...]) -> bool:
    """Whether the residual blocks differ in their numbers of groups."""
    residual = [stage for stage in stages if stage.shortcut is not None]
    return len({groups_in(stage) for stage in residual} - {None}) > 1


def parametrization_text(weighted: str, function: str, options: dict[str, Any]) -> str:
    """A layer under the parametrization of its weight that a function of `normwise.layers` gives it.

    >>> parametrization_text("nn.Linear(3, 8)", "weight_norm", {})
    'nw.weight_norm(nn.Linear(3, 8))'
    """
    return call(f"nw.{function}", weighted, *(f"{key}={_value(value)}" for key, value in options.items()))


def _channels(module: Any) -> int:
    """The number of channels, by the name that the layer has for it."""
    names = ("num_features", "num_channels", "dim")
    channels: int = next((getattr(module, name) for name in names if hasattr(module, name)), 0)
    return channels or module.normalized_shape[0]


def _value(value: Any) -> str:
    return number(value) if isinstance(value, float) else repr(value)
