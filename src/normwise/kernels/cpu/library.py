"""The compiled kernels, loaded when they are first asked for."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

import torch  # first: it brings the OpenMP whose threads the kernels share

from normwise.kernels.cpu import preference
from normwise.kernels.cpu.build import MODULE, native_path
from normwise.kernels.cpu.call import DTYPES
from normwise.kernels.cpu.formula import differentiate
from normwise.kernels.cpu.portable import load as load_portable


def dtype_code(dtype: torch.dtype) -> int | None:
    """The kernels' number of a dtype, or None where they have none."""
    return DTYPES.get(dtype)


@functools.cache
def _load_native() -> tuple[Any, str | None]:
    portable, reason = load_portable()
    if portable is None:
        return None, reason
    path = native_path()
    if path is None:
        return None, f"not built for torch {torch.__version__}: run `normwise build-native`"
    name = f"normwise.kernels.cpu.{MODULE}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        return None, "its file is no module"
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (ImportError, RuntimeError) as error:
        return None, f"its file does not load: {error}"
    if module.ABI_VERSION != portable.ABI_VERSION:
        return None, "the kernels that it would call are of another version: reinstall normwise"
    connect(module)
    sys.modules[name] = module
    return module, None


def connect(native: Any) -> None:
    """Tell a native binding what it shares with the portable one, and from where on which library multiplies."""
    table = portable().table()
    native.connect(table, differentiate, preference.products_for_onednn(), preference.SHORTEST_AXIS)


def portable() -> Any:
    """The portable binding, or None."""
    return load_portable()[0]


@functools.cache
def native() -> Any:
    """The native binding, or None; asked by every call."""
    return _load_native()[0]


def why_missing(backend: str) -> str | None:
    """Why a binding is not there, or None.

    >>> why_missing("portable") is None or isinstance(why_missing("portable"), str)
    True
    """
    return (load_portable() if backend == "portable" else _load_native())[1]


def isa() -> str | None:
    """The instruction set of the kernels that run on this machine; None without kernels."""
    module: ModuleType | None = portable()
    return None if module is None else str(module.isa())
