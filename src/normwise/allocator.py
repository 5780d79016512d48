"""Memory that large tensors are given: reused, instead of mapped anew at every call."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

# From glibc's malloc.h; −1 as a size is the largest one.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_SETTINGS = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1))


@dataclass(frozen=True)
class AllocatorTuning:
    """What `tune_allocator` did.

    Attributes:
        applied: whether freed memory now stays with the process.
        allocator: what answers malloc in this process, such as ``"glibc 2.36"``; None where that cannot be told.
        note: one sentence for a person.
    """

    applied: bool
    allocator: str | None
    note: str


def tune_allocator() -> AllocatorTuning:
    """Let this process keep the memory of freed tensors, so that the next ones need not be mapped and zeroed again.

    glibc takes a tensor of 32 MiB or more (at first, of 128 KiB or more) from the kernel by ``mmap`` and hands it back
    when it is freed. Each page of the next one is then faulted in and zeroed, which costs several times what a kernel
    near the memory limit does. This makes two settings of ``mallopt``, which last as long as the process: tensors come
    from the heap (``M_MMAP_MAX = 0``), and the heap does not shrink (``M_TRIM_THRESHOLD = -1``). Results do not change.

    Memory: the process stays at its peak, and the peak grows by a factor of 1.3 to 3, because a freed piece does not
    fit every next tensor. Forward and backward of two torch BatchNorm2d + ReLU on 48×64×56×56 float32 (36.75 MiB a
    tensor) took 85,000 page faults a step and at most 228 MiB before; after it none, once a few steps have been made,
    and 643 MiB, of which none is given back. That goes for what Python and numpy free, too.
    ``ctypes.CDLL(None).malloc_trim(0)`` gives back at once what is free.

    It acts on the main thread; another thread keeps less. Processes started afterwards need a call of their own. On
    another system or allocator (macOS, Windows, musl, jemalloc) it does nothing, and the result says so.

    Returns:
        `AllocatorTuning`, with ``applied`` False where it did nothing. It raises nothing.

    Call it first thing::

        import normwise as nw

        print(nw.tune_allocator().note)
    """
    name = allocator()
    if name is None or not name.startswith("glibc"):
        found = name or "another allocator"
        return AllocatorTuning(
            False, name, f"Nothing was changed: this process uses {found}, not glibc's malloc."
        )
    mallopt = ctypes.CDLL(None).mallopt
    if not all(mallopt(option, value) == 1 for option, value in _SETTINGS):
        return AllocatorTuning(False, name, f"{name} refused the settings; page faults stay as they were.")
    return AllocatorTuning(True, name, "Freed memory now stays with this process, up to its peak.")


def allocator() -> str | None:
    """What answers malloc in this process: ``"glibc 2.36"``, or the file name of another library; None if unknown.

    A library that was loaded before all others (LD_PRELOAD) takes malloc from glibc, whose settings then mean nothing.
    """
    try:
        glibc = os.confstr("CS_GNU_LIBC_VERSION")
        home = _library_of("malloc")
    except (
        AttributeError,
        ValueError,
        OSError,
        TypeError,
    ):  # no confstr, no such name, no dladdr, no CDLL(None)
        return None
    if home is None or not glibc:
        return None
    return glibc if home.startswith(("libc.", "libc-")) else home


class _Symbol(ctypes.Structure):
    """Dl_info of dlfcn.h."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def _library_of(function: str) -> str | None:
    """File name of the library that a function of C comes from."""
    process = ctypes.CDLL(None)
    process.dladdr.argtypes = [ctypes.c_void_p, ctypes.POINTER(_Symbol)]
    symbol = _Symbol()
    address = ctypes.cast(getattr(process, function), ctypes.c_void_p)
    if process.dladdr(address, ctypes.byref(symbol)) == 0 or symbol.file is None:
        return None
    return Path(os.fsdecode(symbol.file)).name
