"""Which layers of a model an operation is asked for: by name, by pattern, by class or by a function."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from normwise.errors import ArgumentError, explain

Where = str | type[nn.Module] | Callable[[str, nn.Module], Any] | Sequence[str | type[nn.Module]] | None
"""None is everywhere. A name stands for the module and all that is in it, and may be a pattern as of files
(``"layer[12].*"``, ``"*.bn1"``); a class for its instances; a function gets name and module; of several, each adds."""


def selected(
    who: str, model: nn.Module, where: Where, fits: Callable[[nn.Module], bool], what: str
) -> dict[str, nn.Module]:
    """The modules that fit and are asked for, each once, by their first names, in the model's order.

    Args:
        who: the operation, for messages.
        model: any module.
        where: see `Where`.
        fits: what the operation is about.
        what: the same in words, such as "a batch normalization".

    Raises:
        ArgumentError: (a ValueError) something in `where` selects nothing, or is none of those.

    >>> model = nn.ModuleDict({"a": nn.Sequential(nn.BatchNorm1d(2)), "b": nn.BatchNorm1d(2)})
    >>> list(selected("f", model, "a", lambda module: isinstance(module, nn.BatchNorm1d), "a norm"))
    ['a.0']
    """
    names: dict[int, list[str]] = {}
    first: dict[str, nn.Module] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if fits(module):
            if id(module) not in names:
                first[name] = module
            names.setdefault(id(module), []).append(name)
    if where is None:
        return first
    chosen: set[int] = set()
    for rule in where if isinstance(where, list | tuple | set | frozenset) else (where,):
        hits = {id(m) for m in first.values() if any(_matches(who, rule, name, m) for name in names[id(m)])}
        if not hits:
            known = [name for each in names.values() for name in each]
            near = difflib.get_close_matches(rule, known, n=1, cutoff=0.0) if isinstance(rule, str) else []
            hint = f"`{near[0]}` is one" if near else "give a name, a pattern such as 'layer1.*', or a class"
            raise ArgumentError(explain(who, f"`where` must select {what}", repr(rule), hint))
        chosen |= hits
    return {name: module for name, module in first.items() if id(module) in chosen}


def _matches(who: str, rule: Any, name: str, module: nn.Module) -> bool:
    if isinstance(rule, str):
        parts = name.split(".")
        return any(fnmatchcase(".".join(parts[:length]), rule) for length in range(1, len(parts) + 1))
    if isinstance(rule, type):
        return isinstance(module, rule)
    if callable(rule):
        return bool(rule(name, module))
    must = "`where` must be names, patterns, classes or a function"
    raise ArgumentError(explain(who, must, f"a {type(rule).__name__}"))
