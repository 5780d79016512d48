"""Packages whose names are imported when they are first asked for, and that can be called.

`normwise.compare` and `normwise.report` name both a package and what the package is for, so the package answers the
call: ``normwise.compare("digits")``.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any


def attach(
    package: str, exports: Mapping[str, str], *, call: str | None = None, fallback: str | None = None
) -> None:
    """Make `package` import its exports when they are asked for.

    Args:
        package: its ``__name__``.
        exports: name → module that defines it. A name must not be that of a sub-module, which would hide it once it
            is imported; only a sub-package that can be called may stand for its function.
        call: the export that a call of the package goes to; None makes a package that cannot be called.
        fallback: a module whose public names (its ``__all__``) are exported too.
    """

    def public(home: str) -> list[str]:
        return list(importlib.import_module(home).__all__)

    def get(name: str) -> Any:
        if name not in exports:
            # A sub-module asked for by `from package import name` must not import the fallback on its way.
            own = name.startswith("_") or importlib.util.find_spec(f"{package}.{name}") is not None
            if fallback is not None and not own and name in public(fallback):
                return getattr(importlib.import_module(fallback), name)
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = importlib.import_module(exports[name])
        if exports[name] == f"{package}.{name}":  # a sub-package that can be called stands for its function
            return home
        value = getattr(home, name)
        setattr(module, name, value)
        return value

    module = sys.modules[package]

    class _Package(ModuleType):
        def __getattr__(self, name: str) -> Any:
            return get(name)

        def __dir__(self) -> list[str]:
            return sorted({*vars(self), *exports, *(public(fallback) if fallback else ())})

    class _CallablePackage(_Package):
        @property
        def __signature__(self) -> inspect.Signature:
            return inspect.signature(get(str(call)))

        def __call__(self, *arguments: Any, **options: Any) -> Any:
            return get(str(call))(*arguments, **options)

    module.__class__ = _Package if call is None else _CallablePackage
