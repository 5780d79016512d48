"""The rules, one file each; they do not import each other."""

from __future__ import annotations

import importlib
import pkgutil
from functools import lru_cache

from normwise.diagnose.rule import Rule


@lru_cache(maxsize=1)
def all_rules() -> tuple[Rule, ...]:
    """Every rule, by code."""
    names = sorted(found.name for found in pkgutil.iter_modules(__path__) if found.name.startswith("nw"))
    return tuple(importlib.import_module(f"{__name__}.{name}").RULE for name in names)
