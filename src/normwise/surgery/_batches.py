"""Batches of a loader, and a model called with one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.data import Dataset, IterableDataset

from normwise.errors import ArgumentError, explain

Forward = Callable[[nn.Module, Any], Any]


def check_loader(who: str, loader: Any, *, again: bool, name: str = "loader") -> None:
    """Raise `ArgumentError`, a ValueError, unless this gives batches; where asked for, more than once."""
    must, hint = f"`{name}` must give one batch after another", "a list of batches is one, too: [batch]"
    batched = hasattr(loader, "__iter__") or hasattr(loader, "__getitem__")
    if isinstance(loader, Tensor | str | Mapping) or not batched:
        raise ArgumentError(explain(who, must, f"a {type(loader).__name__}", hint))
    if isinstance(loader, Dataset) and not isinstance(loader, IterableDataset):
        got = f"a {type(loader).__name__}, which gives samples"
        raise ArgumentError(explain(who, must, got, "put it into a torch.utils.data.DataLoader"))
    if again and iter(loader) is loader:
        must = "`loader` must give its batches again for every layer with how='sequential'"
        raise ArgumentError(explain(who, must, f"a {type(loader).__name__}", "make it a list"))


def count_of(loader: Any, limit: int | None) -> int | None:
    """How many batches will come; None where that is not known.

    >>> count_of([1, 2, 3], 2), count_of(iter([1]), None)
    (2, None)
    """
    try:
        length = len(loader)
    except TypeError:  # a generator, or the loader of an iterable dataset
        return None
    return length if limit is None else min(length, limit)


def batches_of(loader: Any, limit: int | None) -> Iterator[Any]:
    """The batches, at most so many."""
    return itertools.islice(iter(loader), limit)


def call(model: nn.Module, batch: Any) -> Any:
    """Call a model with a batch, moved to its device: a tensor, named arguments, or the first of several things.

    Raises:
        ArgumentError: (a ValueError) the batch is, or begins with, something else.

    >>> import torch
    >>> call(nn.Flatten(), (torch.ones(1, 2, 3), "a target")).shape
    torch.Size([1, 6])
    """
    if isinstance(batch, tuple | list) and len(batch) > 0:
        batch = batch[0]
    devices = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    if len(devices) == 1:
        device = devices.pop()
        batch = tree_map(lambda leaf: leaf.to(device) if isinstance(leaf, Tensor) else leaf, batch)
    if isinstance(batch, Tensor):
        return model(batch)
    if isinstance(batch, Mapping):
        return model(**batch)
    raise ArgumentError(
        explain(
            "recalibrate",
            "a batch must be a tensor, a dict of named arguments, or a tuple or list that begins with one",
            f"a {type(batch).__name__}",
            "say how the model is called: forward=lambda model, batch: model(...)",
        )
    )
