"""Modules left out, and other rates of dropout."""

from __future__ import annotations

from typing import Any

from torch import nn

from normwise.diagnose.subject import Setup
from normwise.errors import ArgumentError, explain


def leave_out(setup: Setup, *names: str) -> Setup:
    """Put `nn.Identity` into the places of modules, so that all others keep their names.

    Raises:
        ArgumentError: the model has no such module.
    """
    for name in names:
        _find("leave_out", setup.model, name)
        parent, _, key = name.rpartition(".")
        setup.model.get_submodule(parent)._modules[key] = nn.Identity()
    return setup


def change_dropout(setup: Setup, rate: float, *names: str) -> Setup:
    """Another rate of dropout, of these modules or of all.

    Raises:
        ArgumentError: the rate does not lie in [0, 1), or there is no such dropout.
    """
    if not 0 <= rate < 1:
        raise ArgumentError(explain("change_dropout", "`rate` must be at least 0 and below 1", repr(rate)))
    kind = nn.modules.dropout._DropoutNd
    named = [_find("change_dropout", setup.model, name) for name in names] or setup.model.modules()
    found: list[Any] = [module for module in named if isinstance(module, kind)]
    if not found:
        raise ArgumentError(explain("change_dropout", "the model must have dropout as a module", "none"))
    for module in found:
        module.p = rate
    return setup


def _find(who: str, model: nn.Module, name: str) -> nn.Module:
    modules: dict[str, nn.Module] = dict(model.named_modules(remove_duplicate=False))
    if not name or name not in modules:
        raise ArgumentError(explain(who, "a name must be that of a module inside of the model", repr(name)))
    return modules[name]
