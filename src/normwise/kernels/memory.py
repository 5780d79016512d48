"""Memory of freed outputs that stays with the process."""

from __future__ import annotations

from dataclasses import dataclass

from normwise.errors import ArgumentError, explain
from normwise.kernels.cpu.portable import load


@dataclass(frozen=True)
class KeptMemory:
    """Bytes of large outputs of the CPU kernels; all 0 where the system's allocator serves them.

    Attributes:
        limit: how much is kept free at most.
        free: how much is kept free.
        in_use: how much tensors hold.
    """

    limit: int
    free: int
    in_use: int


def keep_memory(limit: int | None = None) -> KeptMemory:
    """Say how much memory of freed outputs this process keeps for the next ones, or ask how much it does.

    On Linux the outputs and gradients of 2 MiB and more that the CPU kernels write lie in blocks of their own, on large
    pages where the system offers them. A block that is freed serves the next output of its size, or of up to a ninth
    less; malloc would give it back, and the system would fill each page of the next one with zeros, which costs up to
    twice what the kernel does. Results do not change.

    Memory: 256 MiB are kept free at most, unless this says otherwise; beyond that the system gets back what has been
    free longest. Only what has been in use before is ever kept, and other tensors do not come from it. Training a small
    residual CNN of 128 images a step had its peak at 228 MiB (216 with a limit of 0, 344 in torch's layers), and of
    1,024 images at 1,333 MiB (1,236 and 1,261); there a limit of 1 GiB made a step a fifth shorter. With the portable
    binding the storage of such an output cannot be resized to more.

    Args:
        limit: bytes that are kept free at most, from now on, in this process; what is beyond goes back to the system at
            once. 0 keeps nothing: then outputs come from torch's allocator, as on other systems. None changes nothing.

    Returns:
        `KeptMemory`, as it is after that.

    Raises:
        ArgumentError: a limit that is negative or no integer.

    >>> before = keep_memory()
    >>> keep_memory(0).free
    0
    >>> keep_memory(before.limit) == before or before.free > 0
    True
    """
    if limit is not None and not (isinstance(limit, int) and 0 <= limit < 2**63):
        raise ArgumentError(
            explain("keep_memory", "`limit` must be a number of bytes, 0 or more", repr(limit))
        )
    kernels, _ = load()
    return (
        KeptMemory(0, 0, 0)
        if kernels is None
        else KeptMemory(*kernels.keep_blocks(-1 if limit is None else limit))
    )
