"""What runs for a call, and why not something else.

=========  ==========================================================================================
Name       What it is
=========  ==========================================================================================
auto       the fastest back end that takes the call; torch's where that is faster at the call's size
aten       torch's own operators under normwise's options: every device, every transform
portable   normwise's C++ kernels under a Python autograd function; comes with the package
native     the same kernels under a C++ autograd node, built by ``normwise build-native``
cpu        native where it is built, else portable
=========  ==========================================================================================

``backend=`` of a call comes before `use_backend`, that before the environment variable ``NORMWISE_BACKEND``. A back end
that is asked for by name runs or raises; only "auto" chooses.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NoReturn

import torch

from normwise.errors import BackendError, explain, unknown_name

_is_compiling = torch.compiler.is_compiling

BACKENDS: tuple[str, ...] = ("auto", "aten", "portable", "native", "cpu")
"""The names that can be asked for."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What ran for one call.

    Attributes:
        operation: the function's name.
        shape: of its input.
        backend: "aten", "portable" or "native".
        isa: the instruction set of the kernel; None for torch's operators.
        refused: back end → why it did not run, for those that are faster where they run.
        layer: where in the model, as `named_modules` has it, if `normwise.explain_backend` was asked; else None.
        library: of a linear layer, what multiplies: "oneDNN" or "BLAS"; else None.

    >>> print(Choice("batch_norm", (32, 64), "portable", "avx2", {"native": "it is not built"}, layer="block.1"))
    block.1: batch_norm of 32×64: portable (avx2)
      not native: it is not built
    """

    operation: str
    shape: tuple[int, ...]
    backend: str
    isa: str | None = None
    refused: dict[str, str] = field(default_factory=dict)
    layer: str | None = None
    library: str | None = None

    @property
    def size(self) -> str:
        """The shape in words."""
        return "×".join(str(n) for n in self.shape) or "one value"

    @property
    def ran(self) -> str:
        """The back end, with the instruction set or the library where there is one."""
        more = self.isa or self.library
        return self.backend if more is None else f"{self.backend} ({more})"

    def __str__(self) -> str:
        where = f"{self.layer}: " if self.layer else ""
        reasons = "".join(f"\n  not {name}: {reason}" for name, reason in self.refused.items())
        return f"{where}{self.operation} of {self.size}: {self.ran}{reasons}"


@dataclass(slots=True)
class _Mode:
    backend: str | None
    record: list[Choice] | None


_mode: ContextVar[_Mode | None] = ContextVar("normwise_backend", default=None)


def checked(name: str) -> str:
    """The name, if it is known.

    Raises:
        UnknownNameError: it is not in `BACKENDS`.
    """
    if name not in BACKENDS:
        raise unknown_name("backend", "backend", str(name), BACKENDS)
    return name


@functools.cache
def _of_environment() -> str:
    name = os.environ.get("NORMWISE_BACKEND") or "auto"
    if name not in BACKENDS:
        raise unknown_name("NORMWISE_BACKEND", "backend", name, BACKENDS)
    return name


def requested(backend: str | None = None, compiled: bool | None = None) -> str:
    """The back end that a call asks for: by argument, by `use_backend`, or by the environment.

    Compiled programs ask for "aten". A caller that knows whether the program is being compiled says so.

    >>> with use_backend("aten"):
    ...     requested(), requested("cpu")
    ('aten', 'cpu')
    """
    if (
        _is_compiling() if compiled is None else compiled
    ):  # a compiler sees torch's operators; what a block asks for it cannot know
        if backend not in (None, "auto", "aten"):
            refuse("torch.compile", checked(str(backend)), "the program is being compiled or exported")
        return "aten"
    if backend is not None:
        return checked(backend)
    mode = _mode.get()
    if mode is not None and mode.backend is not None:
        return mode.backend
    return _of_environment()


@contextlib.contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Ask for a back end in a block, in this thread; calls may still ask for another by argument.

    Args:
        name: one of `BACKENDS`.

    Raises:
        UnknownNameError: the name is not known.

    >>> import torch
    >>> import normwise as nw
    >>> with nw.use_backend("aten"):
    ...     nw.explain_backend(nw.BatchNorm1d(4), torch.ones(8, 4))[0].backend
    'aten'
    """
    outer = _mode.get()
    token = _mode.set(_Mode(checked(name), outer.record if outer else None))
    try:
        yield
    finally:
        _mode.reset(token)


@contextlib.contextmanager
def recorded() -> Iterator[list[Choice]]:
    """Collect what runs in a block, in this thread: one `Choice` a call, in order."""
    outer = _mode.get()
    choices: list[Choice] = []
    token = _mode.set(_Mode(outer.backend if outer else None, choices))
    try:
        yield choices
    finally:
        _mode.reset(token)


in_block = _mode.get
"""What a block has set in this thread, or None: asked by every call that is quick, before `recording`."""


def recording() -> list[Choice] | None:
    """Where choices are to be noted, or None."""
    mode = _mode.get()
    return None if mode is None else mode.record


def note_aten(operation: str, shape: Sequence[int]) -> None:
    """Note that torch's operators run for a call that no other back end was offered."""
    if _is_compiling():
        return
    record = recording()
    if record is not None:
        record.append(
            Choice(operation, tuple(shape), "aten", None, {"cpu": "torch's operators were asked for"})
        )


def refuse(who: str, backend: str, reason: str) -> NoReturn:
    """Raise, since a back end that was asked for by name cannot take a call."""
    raise BackendError(
        explain(
            who,
            f"backend {backend!r} was asked for by name and must be able to run",
            reason,
            'ask for "auto", which runs what it can and says why: normwise.explain_backend',
        )
    )
