"""Whether the answer for a sample depends on the other samples of its batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from normwise.diagnose.subject import Subject
from normwise.graph.trace import run_on
from normwise.monitor.preserve import preserved

_ROWS = 8
_TOLERANCE = 1e-2
"""Of the spread of the outputs; sums in another order differ by a thousandth of that in half precision."""


def mixes_samples(subject: Subject) -> bool:
    """Whether a sample's output in evaluation is another among copies of itself.

    Not asked of a model that takes statistics of the batch on purpose, or that gives something else for the same batch.
    """
    inputs, model = subject.inputs, subject.model
    if inputs is None or any(_of_batches(module) for module in model.modules()):
        return False
    sizes = {len(leaf) for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor) and leaf.dim()}
    if len(sizes) != 1 or min(sizes) < 3:
        return False
    few = tree_map(_first, inputs)
    try:
        with preserved(model, training=False), torch.no_grad():
            passes = [_outputs(model, given) for given in (few, few, tree_map(_copies_of_last, few))]
    except Exception:  # a model may refuse small batches in any way it likes
        return False
    same, again, changed = passes
    if same is None or again is None or changed is None or not len(same) == len(changed) == _count(few):
        return False
    scale = float(same.std()) + 1e-12
    moved = float((changed[-1] - same[-1]).abs().max()) / scale
    return torch.equal(same, again) and moved > _TOLERANCE


def _of_batches(module: nn.Module) -> bool:
    """A norm without running statistics, or anything that is called after batches."""
    running = "running_mean" in module._buffers and module._buffers["running_mean"] is None
    return running or getattr(module, "track_running_stats", True) is False


def _outputs(model: nn.Module, inputs: Any) -> Tensor | None:
    torch.manual_seed(0)
    output = run_on(model, inputs)
    return output.detach().float() if isinstance(output, Tensor) and output.dim() else None


def _first(leaf: Any) -> Any:
    return leaf[:_ROWS] if isinstance(leaf, Tensor) and leaf.dim() else leaf


def _copies_of_last(leaf: Any) -> Any:
    return leaf[-1:].expand_as(leaf).clone() if isinstance(leaf, Tensor) and leaf.dim() else leaf


def _count(inputs: Any) -> int:
    return next(len(leaf) for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor) and leaf.dim())
