"""The parameters that a builder takes, those behind its **kwargs included."""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import Parameter
from typing import Any, get_type_hints

from torch import nn

_DEEPEST = 6
"""Functions that hand their **kwargs on to each other are followed so far."""


@dataclass(frozen=True)
class Parameters:
    """What a builder takes.

    Attributes:
        named: by name, with annotations resolved where that is possible.
        anything: whether it takes any other name too, because it cannot be said where its **kwargs go.
    """

    named: dict[str, Parameter]
    anything: bool


def parameters_of(builder: Callable[..., Any]) -> Parameters:
    """The parameters of a class or function.

    Names behind ``**kwargs`` are found by reading the source: ``kwargs["width"]`` is one, and where kwargs are
    handed on (``ResNet(block, **kwargs)``), so are the names that the next one takes and is not given already.

    >>> def inner(depth, width=8): ...
    >>> def outer(**options):
    ...     return inner(3, **options)
    >>> list(parameters_of(outer).named)
    ['width']
    """
    return _parameters(builder, _DEEPEST)


def _parameters(builder: Callable[..., Any], deep: int) -> Parameters:
    function = _function_of(builder)
    if function is nn.Module.__init__:
        return Parameters({}, False)
    try:
        found = inspect.signature(builder).parameters
    except (TypeError, ValueError):
        return Parameters({}, True)
    hints = _hints(function)
    plain = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    named = {
        name: p.replace(annotation=hints.get(name, p.annotation))
        for name, p in found.items()
        if p.kind in plain
    }
    rest = next((name for name, p in found.items() if p.kind is Parameter.VAR_KEYWORD), None)
    if rest is None:
        return Parameters(named, False)
    behind = _behind(builder, function, rest, deep)
    more = {n: p.replace(kind=Parameter.KEYWORD_ONLY) for n, p in behind.named.items() if n not in named}
    return Parameters(named | more, behind.anything)


def _function_of(builder: Any) -> Any:
    while isinstance(builder, functools.partial):
        builder = builder.func
    return getattr(builder, "__init__") if isinstance(builder, type) else inspect.unwrap(builder)  # noqa: B009


def _hints(function: Any) -> dict[str, Any]:
    try:
        return get_type_hints(function)
    except Exception:  # a name that only a type checker imports
        return {}


def _behind(builder: Any, function: Any, rest: str, deep: int) -> Parameters:
    """The names that a function's ``**rest`` may hold."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return Parameters({}, True)
    named: dict[str, Parameter] = {}
    anything = False
    for use in _uses(tree, rest):
        if isinstance(use, str):
            named[use] = Parameter(use, Parameter.KEYWORD_ONLY, default=None)
            continue
        taken = None if use is None or deep == 0 else _taken_by(use, builder, function, deep)
        if taken is None:
            anything = True
        else:
            named |= taken.named
            anything |= taken.anything
    return Parameters(named, anything)


def _uses(tree: ast.Module, rest: str) -> Iterator[str | ast.Call | None]:
    """What becomes of a dictionary: a key that is read, a call that gets it as keywords, or None for the rest."""
    known: set[ast.expr] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            read = node.func
            if isinstance(read, ast.Attribute) and _is(read.value, rest) and node.args:
                key = node.args[0]
                if read.attr in ("get", "pop", "setdefault") and isinstance(key, ast.Constant):
                    known.add(read.value)
                    yield str(key.value)
            for keyword in node.keywords:
                if keyword.arg is None and _is(keyword.value, rest):
                    known.add(keyword.value)
                    yield node
        elif (
            isinstance(node, ast.Subscript) and _is(node.value, rest) and isinstance(node.slice, ast.Constant)
        ):
            known.add(node.value)
            if isinstance(node.ctx, ast.Load):
                yield str(node.slice.value)
        elif isinstance(node, ast.Compare) and any(_is(c, rest) for c in node.comparators):
            known.update(c for c in node.comparators if _is(c, rest))  # `"width" in kwargs`
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == rest and node not in known:
            yield None


def _is(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _taken_by(call: ast.Call, builder: Any, function: Any, deep: int) -> Parameters | None:
    """What a call takes beside the arguments that it is given in place; None where it is not known what is called."""
    if any(isinstance(argument, ast.Starred) for argument in call.args):
        return None
    target, bound = _target(call.func, builder, function)
    if target is None:
        return None
    if target is nn.Module.__init__ or target is object.__init__:
        return Parameters({}, False)
    taken = _parameters(target, deep - 1)
    names = [n for n, p in taken.named.items() if p.kind is not Parameter.KEYWORD_ONLY]
    given = set(names[: len(call.args) + bound]) | {k.arg for k in call.keywords if k.arg is not None}
    return Parameters({n: p for n, p in taken.named.items() if n not in given}, taken.anything)


def _target(func: ast.expr, builder: Any, function: Any) -> tuple[Any, int]:
    """What a call calls, and how many of its parameters come before the call's own arguments."""
    if isinstance(func, ast.Attribute) and func.attr == "__init__" and isinstance(builder, type):
        value = func.value
        if isinstance(value, ast.Call) and _is(value.func, "super"):
            owner = next(c for c in builder.__mro__ if c.__dict__.get("__init__") is function)
            following = builder.__mro__[builder.__mro__.index(owner) + 1 :]
            init = next(c.__dict__["__init__"] for c in following if "__init__" in c.__dict__)
            return init, 1
    parts: list[str] = []
    node = func
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None, 0
    scope = getattr(function, "__globals__", {})
    if node.id == "cls" and isinstance(getattr(builder, "__self__", None), type):
        found: Any = builder.__self__
    else:
        found = _closure(function).get(node.id, scope.get(node.id, getattr(builtins, node.id, None)))
    for part in reversed(parts):
        found = getattr(found, part, None)
    return (found if callable(found) else None), 0


def _closure(function: Any) -> dict[str, Any]:
    try:
        return dict(inspect.getclosurevars(function).nonlocals)
    except (TypeError, ValueError):
        return {}
