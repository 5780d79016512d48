"""Large outputs ask the system for large pages."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import torch
from torch import Tensor

import normwise as nw

OFFERED = sys.platform == "linux" and Path("/sys/kernel/mm/transparent_hugepage").is_dir()

PRIVATE = (mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS,) if sys.platform != "win32" else ()


def asks_for_large_pages(tensor: Tensor) -> bool:
    """Whether the memory in the middle of the tensor is marked for them."""
    middle, inside = tensor.data_ptr() + tensor.nbytes // 2, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *rest = line.split()
        if "-" in first and not first.endswith(":"):
            low, high = (int(end, 16) for end in first.split("-"))
            inside = low <= middle < high
        elif inside and first == "VmFlags:":
            return "hg" in rest
    return False


def test_outputs_and_gradients_of_many_megabytes_lie_on_large_pages() -> None:
    x = torch.randn(4096, 2048, requires_grad=True)  # 32 MiB, which malloc maps for itself
    y = nw.LayerNorm(2048)(x)
    y.backward(torch.ones_like(y))
    assert x.grad is not None
    found = [asks_for_large_pages(tensor) for tensor in (y, x.grad)] if OFFERED else [False, False]
    assert found == [OFFERED, OFFERED]


def test_memory_that_is_not_the_kernels_to_shape_stays_as_it_is() -> None:
    # Memory of its own: what malloc gives may have been an output before.
    given = torch.frombuffer(mmap.mmap(-1, 32 << 20, *PRIVATE), dtype=torch.float32).normal_()
    nw.Dropout(0.5, inplace=True)(given)
    assert not (OFFERED and asks_for_large_pages(given))
