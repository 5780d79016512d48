"""Packages whose names are imported when they are first asked for, and that can be called.

`normwise.compare` and `normwise.report` name both a package and what the package is for, so the package answers the
call: ``normwise.compare("digits")``.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any


def attach(package: str, exports: Mapping[str, str], *, call: str | None = None) -> list[str]:
    """Make `package` import its exports lazily; returns their sorted names, for ``__all__``.

    Args:
        package: its ``__name__``.
        exports: name → module that defines it.
        call: the export that a call of the package goes to; None makes a package that cannot be called.
    """

    def get(name: str) -> Any:
        if name not in exports:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(exports[name]), name)
        if not isinstance(vars(module).get(name), ModuleType):  # a sub-package of that name stays what it is
            setattr(module, name, value)
        return value

    module = sys.modules[package]
    names = sorted(exports)

    class Package(ModuleType):
        def __getattr__(self, name: str) -> Any:
            return get(name)

        def __dir__(self) -> list[str]:
            return sorted({*vars(self), *names})

    if call is not None:
        Package.__call__ = lambda self, *args, **kwargs: get(call)(*args, **kwargs)  # type: ignore[attr-defined]
    module.__class__ = Package
    return names
