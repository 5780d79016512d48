"""Running statistics as in the beginning."""

from __future__ import annotations

from typing import Any

from torch import nn

from normwise.results.edits import Edit, Edits
from normwise.surgery._copy import copied
from normwise.surgery._eligible import reasons
from normwise.surgery._fresh import own_statistics
from normwise.surgery._select import Where
from normwise.surgery._survey import check_model
from normwise.surgery._twins import describe

_WHO = "reset_running_stats"


def reset_running_stats(
    model: nn.Module, *, where: Where = None, inplace: bool = False
) -> tuple[nn.Module, Edits]:
    """Set all running means to zero, variances to one and counters to zero.

    Frozen statistics are left alone, with the reason in the record. What batch renormalization counts is its schedule,
    which begins again.

    Args:
        model: any module.
        where: which layers, by name, pattern or class (`freeze` has examples); None for all.
        inplace: change this model's buffers, instead of giving a copy with buffers of its own.

    Returns:
        The model, and what was reset and what was left alone.

    Raises:
        ArgumentError: (a ValueError) no layer has running statistics, or the model cannot be copied.

    >>> import torch
    >>> model = nn.Sequential(nn.BatchNorm1d(2))
    >>> _ = model(torch.randn(8, 2))
    >>> new, _ = reset_running_stats(model)
    >>> new[0].running_mean, int(new[0].num_batches_tracked), int(model[0].num_batches_tracked)
    (tensor([0., 0.]), 0, 1)
    """
    check_model(_WHO, model)
    why = reasons(_WHO, model, where)
    if not inplace:
        model = copied(model, _WHO)
        own_statistics(model, [name for name, reason in why.items() if reason is None])
    modules: dict[str, Any] = dict(model.named_modules())
    edits = []
    for name, reason in why.items():
        text = describe(modules[name])
        if reason is None:
            modules[name].reset_running_stats()
            edits.append(Edit(name, text, f"{text}, reset", "mean 0, variance 1"))
        else:
            edits.append(Edit(name, text, text, reason))
    return model, Edits(_WHO, tuple(edits))
