"""Modules that something holds beside their places: lists, closures, hooks."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable, Iterator
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import nn

from normwise.surgery._twins import HOOKS

_MACHINERY = vars(nn.Module()).keys() - HOOKS


def held(modules: dict[str, nn.Module]) -> dict[int, str]:
    """Modules that are held by more than their places, by id, with the reason to leave them alone.

    Whoever calls a module out of a list, or reads it in a closure, would go on with the old one.
    """
    found: dict[int, str] = {}
    for what, value in _attributes(modules):
        for item in _reachable(value):
            if isinstance(item, nn.Module):
                found.setdefault(id(item), f"{what} holds it, too")
    return found


def closed_over(modules: dict[str, nn.Module]) -> str | None:
    """A function among attributes and hooks that holds one of the modules, in words; None without one.

    Functions are not copied, so that in a copy of the model it would go on with the old module.
    """
    own = {id(module) for module in modules.values()}
    for what, value in _attributes(modules):
        for item in _reachable(value):
            if isinstance(item, FunctionType):
                inside = (inner for content in _contents(item) for inner in _reachable(content))
                if any(id(inner) in own for inner in inside):
                    return f"{what}, a function that holds modules of it"
    return None


def _attributes(modules: dict[str, nn.Module]) -> Iterator[tuple[str, Any]]:
    for owner, module in modules.items():
        of = f"`{owner}`" if owner else "the model"
        for name, value in vars(module).items():
            if name not in _MACHINERY:
                yield (f"a hook of {of}" if name in HOOKS else f"`{name}` of {of}"), value


def _reachable(value: Any) -> Iterable[Any]:
    """What a value holds, through containers, methods and functions; not what modules hold."""
    seen: set[int] = set()
    waiting = deque([value])
    while waiting:
        item = waiting.popleft()
        if id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        if isinstance(item, dict):
            waiting.extend((*item.keys(), *item.values()))
        elif isinstance(item, list | tuple | set | frozenset | deque) and not isinstance(item, torch.Size):
            waiting.extend(item)
        elif isinstance(item, MethodType):
            waiting.append(item.__self__)
        elif isinstance(item, functools.partial):
            waiting.extend((item.func, *item.args, *item.keywords.values()))
        elif isinstance(item, FunctionType):
            waiting.extend(_contents(item))


def _contents(function: FunctionType) -> list[Any]:
    """What a function holds: defaults, and the variables that it closes over."""
    found = list(function.__defaults__ or ())
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # a variable that was not bound yet
            continue
    return found
