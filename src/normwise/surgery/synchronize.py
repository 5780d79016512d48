"""Batch normalization over all processes of a group, and back, in a model that exists."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from normwise import layers
from normwise.errors import ArgumentError, explain
from normwise.layers._sharing import share, shared_by, sharers
from normwise.layers._tracking import Tracking
from normwise.layers.sync_batch_norm import AllReduce
from normwise.results.edits import Edit, Edits
from normwise.surgery._copy import copied
from normwise.surgery._survey import check_model
from normwise.surgery._twins import FASTER, describe

_RANKS: dict[int, type[nn.Module]] = {1: layers.BatchNorm1d, 2: layers.BatchNorm2d, 3: layers.BatchNorm3d}
_SYNC = (nn.SyncBatchNorm, layers.SyncBatchNorm)


def synchronize(
    model: nn.Module, process_group: Any = None, *, inplace: bool = False
) -> tuple[nn.Module, Edits]:
    """Let the batch normalizations of a model take their statistics over all processes of a group.

    Each layer stays the object that it is, with its hooks, its parameters and its state_dict; a fused one keeps its
    activation and dropout. Only where its statistics come from changes, and torch's own classes become
    normwise's of the same name. A class that is derived from torch's and has a forward pass of its own
    is left alone, since nothing is known of what it does with its statistics; the record names it.

    Args:
        model: any module.
        process_group: of `torch.distributed`; None for the default one.
        inplace: change this model, instead of a copy of its structure.

    Returns:
        The model, and what was changed and what was left alone.

    Raises:
        ArgumentError: (a ValueError) the model cannot be copied; use ``inplace=True``.

    >>> import normwise as nw
    >>> model = nn.Sequential(nn.Linear(4, 3), nw.BatchNormAct1d(3, activation="relu"))
    >>> model, edits = synchronize(model)
    >>> edits["1"].after
    "nw.BatchNormAct1d(activation='relu') over all processes"
    """
    check_model("synchronize", model)
    model = model if inplace else copied(model, "synchronize")
    entries = []
    for name, module in model.named_modules():
        if not isinstance(module, Tracking | _BatchNorm) or isinstance(module, nn.InstanceNorm1d):
            continue
        before = _described(module)
        kind = FASTER.get(type(module))
        if kind is not None and issubclass(kind, Tracking):
            _become(module, kind)
        elif type(module) is nn.SyncBatchNorm:
            _become(module, layers.SyncBatchNorm)
        if isinstance(module, layers.SyncBatchNorm):
            module.process_group = process_group
            entries.append(Edit(name, before, describe(module), "synchronized by itself"))
        elif isinstance(module, Tracking) and type(module).shares:
            share(module, AllReduce(process_group))
            entries.append(Edit(name, before, _described(module), "statistics of all processes"))
        elif isinstance(module, _BatchNorm):
            why = f"{type(module).__name__} has a forward pass of its own"
            if isinstance(module, nn.modules.lazy.LazyModuleMixin):
                why = "it has no parameters yet: run a batch through the model first"
            entries.append(Edit(name, before, before, why))
    return model, Edits("synchronize", tuple(entries))


def desynchronize(
    model: nn.Module, *, rank: int | None = None, inplace: bool = False
) -> tuple[nn.Module, Edits]:
    """Let the batch normalizations of a model take their statistics in each process alone; the way back.

    What `synchronize` changed stays the object that it is. A `SyncBatchNorm`, torch's or normwise's, becomes the
    `BatchNorm` of a rank, with its hooks, parameters and buffers.

    Args:
        model: any module.
        rank: 1, 2 or 3, of what a `SyncBatchNorm` becomes; None takes that of the model's convolutions (1
            where there are none).
        inplace: change this model, instead of a copy of its structure.

    Returns:
        The model, and what was changed.

    Raises:
        ArgumentError: (a ValueError) the model has convolutions of several ranks, and none was named; another rank
            than 1, 2 or 3; the model cannot be copied.

    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SyncBatchNorm(4))
    >>> desynchronize(model)[1]["1"].after
    'nw.BatchNorm2d'
    """
    check_model("desynchronize", model)
    if rank not in (None, *_RANKS):
        raise ArgumentError(explain("desynchronize", "`rank` must be 1, 2 or 3", repr(rank)))
    model = model if inplace else copied(model, "desynchronize")
    entries = []
    sharing = set(map(id, sharers(model).values()))
    for name, module in model.named_modules():
        before = _described(module)
        if type(module) in _SYNC:
            _become(module, _RANKS[_rank_of(model) if rank is None else rank])
            vars(module).pop("process_group", None)
        elif id(module) in sharing and isinstance(shared_by(module), AllReduce):
            share(module, None)
        else:
            continue
        entries.append(Edit(name, before, _described(module), "statistics of each process alone"))
    return model, Edits("desynchronize", tuple(entries))


def _described(module: nn.Module) -> str:
    over = " over all processes" if isinstance(shared_by(module), AllReduce) else ""
    return describe(module) + over


def _become(module: nn.Module, kind: type[nn.Module]) -> None:
    """Make a module one of another class with the same state, the same object, so that hooks and references stay."""
    known = isinstance(module, Tracking)
    module.__class__ = kind
    if isinstance(module, Tracking) and not known:
        module.set_tracking()


def _rank_of(model: nn.Module) -> int:
    kinds = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
    found = {rank for module in model.modules() for rank, kind in kinds.items() if isinstance(module, kind)}
    if len(found) > 1:
        raise ArgumentError(
            explain(
                "desynchronize",
                "the rank of a SyncBatchNorm must be known",
                f"convolutions of ranks {', '.join(map(str, sorted(found)))}",
                "name it as `rank`",
            )
        )
    return found.pop() if found else 1
