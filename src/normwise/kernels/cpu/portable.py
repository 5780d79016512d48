"""The portable binding, where the package was built with a C++ compiler."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from typing import Any


@functools.cache
def load() -> tuple[Any, str | None]:
    """The module, or None and why it is missing."""
    try:
        return importlib.import_module("normwise.kernels.cpu._portable"), None
    except ImportError as error:
        if importlib.util.find_spec("normwise.kernels.cpu._portable") is None:
            return None, "the package was built without a C++ compiler (see `normwise doctor`)"
        return None, f"its file does not load: {error}"
