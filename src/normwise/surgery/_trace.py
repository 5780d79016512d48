"""What a forward pass calls, found by symbolic tracing, mode by mode."""

from __future__ import annotations

import inspect
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn

from normwise.surgery._copy import sketched

CONTEXT = "context"
"""In the `meta` of a call: the modes of gradients and of autocast under which it was made."""

_DEVICES = ("cpu", "cuda")
_SEEN_BY = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class UntraceableError(Exception):
    """A forward pass that cannot be followed without values.

    Attributes:
        name: of the innermost module that cannot be followed; "" is the model itself.
        reason: what was raised.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason


def trace(model: nn.Module) -> tuple[list[fx.Graph], dict[str, str]]:
    """Follow a model's forward pass in training and in evaluation mode.

    Where `forward` has arguments whose default is None, it is followed with and without them. Modules inside
    that cannot be followed, and those whose hooks would see what happens, are single calls in the graphs.

    Returns:
        The graphs, and the names of the modules inside that cannot be followed, each with the reason.

    Raises:
        UntraceableError: the model's own forward cannot be followed.
    """
    if "forward" in vars(model):
        raise UntraceableError("", "its `forward` was replaced")
    watched = {name for name, module in model.named_modules() if name and is_watched(module)}
    opaque: dict[str, str] = {}
    while True:
        try:
            graphs = [
                _follow(model, training, absent, watched | opaque.keys())
                for training in (True, False)
                for absent in _absences(model)
            ]
        except UntraceableError as error:
            if not error.name:
                raise
            # The others of its class would fail as well, one after the other.
            kind = type(model.get_submodule(error.name))
            alike = (name for name, module in model.named_modules() if name and type(module) is kind)
            opaque.update(dict.fromkeys(alike, error.reason))
        else:
            return graphs, opaque


def is_watched(module: nn.Module) -> bool:
    """Whether a module has hooks that see its inputs or outputs."""
    return any(vars(module).get(name) for name in _SEEN_BY)


def _follow(model: nn.Module, training: bool, absent: dict[str, Any] | None, whole: set[str]) -> fx.Graph:
    tracer = _Tracer(whole)
    try:
        with _undisturbed():
            # A copy each time: what a forward pass keeps for itself would be symbols.
            return tracer.trace(sketched(model).train(training), absent)
    except Exception as error:
        # A forward may raise anything, and so may copying.
        lines = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
        raise UntraceableError(tracer.failed, reason) from error


class _Tracer(fx.Tracer):
    """Takes normwise's layers as single calls, as it does torch's, and remembers where it failed."""

    def __init__(self, whole: set[str]) -> None:
        super().__init__()
        self.failed = ""
        self._whole = whole

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether the module is a single call."""
        if type(m).__module__.startswith("normwise.layers") or module_qualified_name in self._whole:
            return True
        return super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Go into the module, or record the call."""
        # Outside of the try: to call a module that is none of the model's is the caller's failure.
        name = self.path_of_module(m)
        try:
            result = super().call_module(m, forward, args, kwargs)
        except Exception:
            self.failed = self.failed or name
            raise
        if self.is_leaf_module(m, name):
            result.node.meta[CONTEXT] = _context()
        return result


def _context() -> tuple[object, ...]:
    """What a `with` around a call may have set; graphs do not record it."""
    autocast = ((kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in _DEVICES)
    return torch.is_grad_enabled(), torch.is_inference_mode_enabled(), *autocast


def _absences(model: nn.Module) -> Iterator[dict[str, Any] | None]:
    """What to hold fixed: nothing, then every argument whose default is None at that."""
    yield None
    parameters = inspect.signature(type(model).forward).parameters.values()
    absent = {parameter.name: None for parameter in parameters if parameter.default is None}
    if absent:
        yield absent


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Run the block without a trace of it: random states are given back, warnings are not shown."""
    state = random.getstate()
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(state)
