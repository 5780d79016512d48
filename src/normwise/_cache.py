"""Where normwise keeps what is dear to make: decoded images and compiled extensions."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path | None:
    r"""The folder; None if the machine has no such place.

    `$NORMWISE_CACHE`, else `$XDG_CACHE_HOME/normwise`, else `~/.cache/normwise` (on Windows
    `%LOCALAPPDATA%\normwise\cache`). The XDG specification wants relative paths ignored.
    """
    if chosen := os.environ.get("NORMWISE_CACHE"):
        return Path(os.path.expanduser(chosen))
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local) / "normwise" / "cache" if local else None
    shared = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(shared):
        return Path(shared) / "normwise"
    try:
        return Path.home() / ".cache" / "normwise"
    except RuntimeError:
        return None
