"""The program for a user's own model: their builder, called as the comparison called it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from normwise.compare.network import asked_activation, surgery_line, user_model as find_user_model
from normwise.compare.snippets.pytorch import program
from normwise.compare.snippets.pytorch_initialization import initialization_lines
from normwise.compare.snippets.pytorch_training import training_lines
from normwise.compare.snippets.recipe import Recipe
from normwise.compare.snippets.text import call, number, quoted
from normwise.errors import NormwiseError
from normwise.models.user import UserModel, weighted
from normwise.models.user_adapt import Adaptation
from normwise.models.user_fill import Facts, fill
from normwise.models.user_norm import NormFactory
from normwise.norms import find
from normwise.results import Snippet


def user_model(recipe: Recipe) -> Snippet:
    """Import the model and train it; through normwise where more than a plain call stood between it and the data."""
    variant = recipe.variant
    try:
        user = find_user_model(recipe.network)
        asked = variant.norm if "norm" in user.varies or variant.kind.weights else "none"
        activation = asked_activation(recipe.network)
        facts = Facts(recipe.in_shape, recipe.out_features, asked, activation, variant.dropout)
        built, how, dtype = user.made(facts, 0)
        change = (
            []
            if "norm" in user.varies
            else surgery_line(recipe.network, variant, recipe.in_shape, recipe.out_features)
        )
    except NormwiseError as error:  # the source has changed since, or is gone
        return Snippet("PyTorch", "", f"No code was written: {error}")
    plain = _plainly(user, facts, how, cast=bool(dtype))
    imports, model = plain or _through_normwise(recipe, facts)
    drawn = recipe.initialization.scheme == "own" or weighted(built)  # else there is nothing to draw
    start = initialization_lines(recipe, ours=True) if drawn else []
    if change:
        start = ["", *change, *start]
    if plain and user.is_lazy(facts):
        start = ["", "model.eval()(X[:2])  # lazy layers get their shapes", *start]
    return Snippet("PyTorch", program(recipe, model, start, training_lines(recipe), imports=imports))


def _through_normwise(recipe: Recipe, facts: Facts) -> tuple[list[str], list[str]]:
    """The lines that have the model built just as the comparison had it built."""
    loaded = call("load_user_model", quoted(recipe.network.model), _mapping(recipe.network.model_args))
    built = call(
        f"{loaded}.build",
        repr(facts.in_shape),
        str(facts.out_features),
        f"norm={quoted(facts.norm)}" if facts.norm != "none" else None,
        None if facts.activation is None else f"activation={quoted(facts.activation)}",
        f"dropout={number(facts.dropout)}" if facts.dropout else None,
    )
    return ["from normwise.models import load_user_model"], [f"model = {built}"]


def _mapping(pairs: tuple[tuple[str, str], ...]) -> str | None:
    """Arguments as a dictionary's source text; None without any."""
    items = ", ".join(f"{quoted(key)}: {quoted(value)}" for key, value in pairs)
    return f"{{{items}}}" if items else None


def _plainly(
    user: UserModel, facts: Facts, how: Adaptation, *, cast: bool
) -> tuple[list[str], list[str]] | None:
    """An import and a call, or None where these would not give the model that was compared."""
    place = user.place
    name = user._name
    hidden = place.module.startswith("_")  # made up, because the file's name is taken or cannot be imported
    if hidden or "." in name or find(facts.norm, "compare").weights:
        return None
    if how not in (Adaptation(end=how.end), Adaptation(flatten=True, end=how.end)):
        return None
    built = name
    if not isinstance(user._object, nn.Module):
        texts = {
            key: _value(value) for key, value in fill(user._parameters, user._arguments, facts).values.items()
        }
        positional = any(
            parameter.kind is parameter.POSITIONAL_ONLY and key in texts
            for key, parameter in user._parameters.named.items()
        )
        if positional or None in texts.values():
            return None
        built = call(name, *(f"{key}={text}" for key, text in texts.items()))
    if how.flatten:
        built = call("nn.Sequential", "nn.Flatten()", built)
    if cast:
        built += ".float()"
    model = [] if built == "model" else [f"model = {built}"]
    return [*_folder(user), f"from {place.module} import {name}", *_norm_import(built)], model


def _folder(user: UserModel) -> list[str]:
    """What makes the import work from where the comparison was started."""
    top, here = user.place.top, Path.cwd().resolve()
    if user.place.file is None or top == here:
        return []
    folder = top.relative_to(here).as_posix() if top.is_relative_to(here) else str(top)
    return ["import sys", "", f"sys.path.insert(0, {quoted(folder)})"]


def _norm_import(built: str) -> list[str]:
    return ["from normwise.models import norm_layer"] if "norm_layer(" in built else []


def _value(value: Any) -> str | None:
    """An argument as source text; None where it has none."""
    if isinstance(value, NormFactory):
        return _factory(value)
    name = getattr(value, "__name__", "")
    if isinstance(value, type) and getattr(nn, name, None) is value:
        return f"nn.{name}"
    if isinstance(value, nn.Module) and getattr(nn, type(value).__name__, None) is type(value):
        return f"nn.{value!r}"
    if isinstance(value, str):
        return quoted(value)
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, tuple | list) and all(isinstance(item, bool | int | float | str) for item in value):
        return repr(value)
    return None


def _factory(factory: NormFactory) -> str:
    """What stands for a class of normalization layers: torch's own where it takes a number of channels alone."""
    images = factory.dims == 2
    match factory.kind:
        case "none":
            return "nn.Identity"
        case "batch":
            return f"nn.BatchNorm{factory.dims}d"
        case "layer" | "rms":
            name = {"layer": "LayerNorm", "rms": "RMSNorm"}[factory.kind]
            return f"nw.{name}2d" if images else f"nn.{name}"
    return f"lambda channels, **_: norm_layer({quoted(factory.kind)}, channels, dims={factory.dims})"
