"""Which of normwise's implementations runs: asked for by name, and told for the record."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import normwise
from normwise.bench.workload import Workload
from normwise.errors import ArgumentError, explain as message, unknown_name

BACKENDS = ("auto", "aten", "portable", "native")
_REGISTRY = "normwise.kernels.registry"


@dataclass(frozen=True)
class Ran:
    """The back end of a call, and why it is that one."""

    name: str
    reason: str = ""


def _registry() -> Any | None:
    """The registry of a build that has kernels of its own; None in one that has torch's alone."""
    return importlib.import_module(_REGISTRY) if importlib.util.find_spec(_REGISTRY) is not None else None


def check(name: str) -> None:
    """Refuse a back end that this build does not know.

    Raises:
        UnknownNameError: there is none of this name.
        ArgumentError: this build has torch's operators alone.
    """
    if name not in BACKENDS:
        raise unknown_name("bench", "back end", name, BACKENDS)
    if name not in ("auto", "aten") and _registry() is None:
        raise ArgumentError(
            message("bench", "`--backend` must be one that this build has", repr(name), "use auto or aten")
        )


def using(name: str) -> AbstractContextManager[Any]:
    """Return a context in which normwise's layers run on the back end of this name; "auto" leaves it to them."""
    check(name)
    registry = _registry()
    if registry is None or name == "auto":
        return contextlib.nullcontext()
    context: AbstractContextManager[Any] = registry.use_backend(name)
    return context


def explain(work: Workload) -> Ran:
    """Return what runs for a workload's own side here and now."""
    ask = getattr(normwise, "explain_backend", None)
    if ask is None:
        return Ran("aten")
    told = ask(work.ours, *work.inputs)
    return Ran(str(getattr(told, "backend", told)), str(getattr(told, "reason", "")))


def kernel_isa() -> str:
    """Return the instruction set of normwise's own kernels; "" in a build without them."""
    isa = getattr(_registry(), "kernel_isa", None)
    return "" if isa is None else str(isa())
