"""Deferred imports of optional packages: one place that names the extra to install."""

from __future__ import annotations

import importlib
from typing import Any

from normwise.errors import MissingPackageError


def require(module: str, *, extra: str, who: str) -> Any:
    """Import and return `module`, or raise `MissingPackageError` that names the extra which brings it.

    Args:
        module: dotted name of the module, such as ``"sklearn.datasets"``.
        extra: the extra of normwise that installs it.
        who: the feature that needs it, for the message.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A module that is installed but lacks a dependency of its own is a broken install, not a missing extra.
        if error.name is None or module.split(".")[0] != error.name.split(".")[0]:
            raise
        raise MissingPackageError(
            f"{who} needs the package {error.name!r}, which is not installed. "
            f'hint: pip install "normwise[{extra}]".'
        ) from error
