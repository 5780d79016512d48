"""Whether a forward pass is a second run of one that was counted already."""

from __future__ import annotations

import torch

_is_compiling = torch.compiler.is_compiling
_graph_task = torch._C._current_graph_task_id


def in_recomputation() -> bool:
    """Whether a backward pass is under way: a forward pass in it is a checkpoint's second run of the first.

    What a layer counts or tracks once for a forward pass must not move again there. Grad mode does not tell: the first
    run of a reentrant checkpoint has it off, and so has a pass that only recalibrates statistics. In a compiled program
    the answer is no: there a recomputation repeats operations, and buffers are written once.

    >>> in_recomputation()
    False
    """
    return not _is_compiling() and in_backward()


def in_backward() -> bool:
    """`in_recomputation` where the caller has asked already that nothing is being compiled."""
    return _graph_task() != -1
