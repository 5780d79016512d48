"""The portable binding, where the package was built with a C++ compiler."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from typing import Any

import torch


@functools.cache
def load() -> tuple[Any, str | None]:
    """The module, or None and why it is missing."""
    try:
        kernels: Any = importlib.import_module("normwise.kernels.cpu._portable")
    except ImportError as error:
        if importlib.util.find_spec("normwise.kernels.cpu._portable") is None:
            return None, "the package was built without a C++ compiler (see `normwise doctor`)"
        return None, f"its file does not load: {error}"
    if not kernels.learn(torch.Tensor, torch.nn.Parameter):
        return None, f"torch {torch.__version__} does not describe its tensors by version 1 of DLPack's table"
    return kernels, None
