"""From the text of --model-args NAME=VALUE to a value that a parameter takes."""

from __future__ import annotations

import enum
import inspect
import json
import types
import typing
from collections.abc import Callable, Mapping
from inspect import Parameter
from pathlib import Path
from typing import Any, Literal

from torch import nn

from normwise.errors import ArgumentError, explain, unknown_name

_WORDS: dict[str, Any] = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_NOTHING = ("none", "null")


def convert(text: str, parameter: Parameter, names: Mapping[str, Any], who: str) -> Any:
    """The value of a text, by the parameter's annotation, else by its default's type, else by its look.

    Args:
        text: such as "128", "64,32", "true", "none", '{"a": 1}', or the name of a class of the model's file.
        parameter: what it is for.
        names: of the model's module, where a class or function may be meant.
        who: the model, for messages.

    Raises:
        ArgumentError, UnknownNameError: the text is no such value.
    """
    wanted = _wanted(parameter)
    try:
        return _as(text.strip(), wanted, names)
    except _MisfitError as misfit:
        got = f"{parameter.name}={text}"
        if misfit.known:
            raise unknown_name(who, f"value of {parameter.name}", text, misfit.known) from None
        raise ArgumentError(explain(who, f"`{parameter.name}` must be {misfit.must}", got)) from None


class _MisfitError(Exception):
    def __init__(self, must: str, known: tuple[str, ...] = ()) -> None:
        super().__init__(must)
        self.must = must
        self.known = known


def _wanted(parameter: Parameter) -> Any:
    """The type that a parameter names, or that its default has; None where neither says anything."""
    annotation = parameter.annotation
    if annotation is not Parameter.empty and annotation is not Any and not isinstance(annotation, str):
        return annotation
    default = parameter.default
    if default is Parameter.empty or default is None:
        return None
    if isinstance(default, tuple | list) and len({type(item) for item in default}) == 1:
        item: Any = type(default[0])
        return tuple[item, ...] if isinstance(default, tuple) else list[item]
    return Callable if callable(default) and not isinstance(default, nn.Module) else type(default)


def _as(text: str, wanted: Any, names: Mapping[str, Any]) -> Any:
    if wanted is None:
        return _by_look(text, names)
    origin, inside = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):
        return _as_one_of(text, inside, names)
    if origin is Literal:
        chosen = next((value for value in inside if str(value) == text), None)
        if chosen is None:
            raise _MisfitError("one of its values", tuple(map(str, inside)))
        return chosen
    if origin is typing.Annotated:
        return _as(text, inside[0], names)
    kind = origin or wanted
    if kind in _READERS:
        return _READERS[kind](text)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        if text not in kind.__members__:
            raise _MisfitError("one of its values", tuple(kind.__members__))
        return kind[text]
    if isinstance(kind, type) and issubclass(kind, tuple | list | set):
        return kind(_items(text, inside, names))
    # Mappings, sequences of typing, classes: what they look like decides.
    if kind in _SEQUENCES:
        return list(_items(text, inside, names))
    return _by_look(text, names)


def _as_one_of(text: str, kinds: tuple[Any, ...], names: Mapping[str, Any]) -> Any:
    if type(None) in kinds and text.lower() in _NOTHING:
        return None
    misfits = []
    # Text fits everything: it is tried last. So does a whole number a float's place.
    order = {bool: 0, int: 1, float: 2, str: 9}
    for kind in sorted((k for k in kinds if k is not type(None)), key=lambda k: order.get(k, 3)):
        try:
            return _as(text, kind, names)
        except _MisfitError as misfit:
            misfits.append(misfit.must)
    raise _MisfitError(" or ".join(misfits))


def _items(text: str, inside: tuple[Any, ...], names: Mapping[str, Any]) -> list[Any]:
    wanted = inside[0] if inside and (len(inside) == 1 or inside[1] is Ellipsis) else None
    several = inside if inside and wanted is None else None
    if text[:1] in "[{":
        value = _json(text)
        return list(value)
    pieces = [piece.strip() for piece in text.strip("()").split(",") if piece.strip()]
    if several is not None and len(several) != len(pieces):
        raise _MisfitError(f"{len(several)} values with commas between")
    return [_as(piece, several[i] if several else wanted, names) for i, piece in enumerate(pieces)]


def _by_look(text: str, names: Mapping[str, Any]) -> Any:
    """A number, a truth value, nothing, a list in JSON, a tuple by comma, a name of the module, else the text."""
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            pass
    if text.lower() in ("true", "false"):
        return _WORDS[text.lower()]
    if text.lower() in _NOTHING:
        return None
    if text[:1] in '[{"':
        return _json(text)
    if "," in text:
        return tuple(_by_look(piece.strip(), names) for piece in text.strip("()").split(",") if piece.strip())
    found = names.get(text)
    if inspect.isclass(found) or inspect.isfunction(found):
        return found
    if text.startswith("nn.") and hasattr(nn, text[3:]):
        return getattr(nn, text[3:])
    return text


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise _MisfitError("a JSON value") from None


def _bool(text: str) -> bool:
    value = {"1": True, "0": False}.get(text, _WORDS.get(text.lower()))
    if value is None:
        raise _MisfitError("true or false")
    return bool(value)


def _int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise _MisfitError("a whole number") from None


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise _MisfitError("a number") from None


def _none(text: str) -> None:
    if text.lower() not in _NOTHING:
        raise _MisfitError("none")


_READERS: dict[Any, Callable[[str], Any]] = {
    bool: _bool,
    int: _int,
    float: _float,
    str: str,
    Path: Path,
    type(None): _none,
    dict: _json,
}
_SEQUENCES = (typing.get_origin(typing.Sequence[int]), typing.get_origin(typing.Iterable[int]))
