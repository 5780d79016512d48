"""The memory that a forward pass keeps for its backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from torch import Tensor
from torch.autograd.graph import Node, saved_tensors_hooks


def saved_bytes(forward: Callable[[], Tensor], excluded: Iterable[Tensor]) -> int:
    """Return the bytes of all storages that autograd saves, each once, and of those that a node holds by itself.

    Args:
        forward: one forward pass.
        excluded: tensors that are there anyway (parameters, buffers), whose storages do not count.

    >>> import torch
    >>> x = torch.ones(8, requires_grad=True)
    >>> saved_bytes(lambda: x.exp().sin(), [])  # exp keeps its result, which is what sin keeps too
    32
    """
    there = {tensor.untyped_storage().data_ptr() for tensor in excluded}
    found: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in there:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(count, lambda tensor: tensor):
        output = forward()
    for tensor in _held(output.grad_fn):
        count(tensor)
    # The graph holds what was saved until here, so that no address is used twice.
    del output
    return sum(found.values())


def _held(last: Node | None) -> Iterator[Tensor]:
    """The tensors among the attributes of autograd functions, alone or in a list."""
    seen, waiting = set(), [last]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        waiting += [before for before, _ in node.next_functions]
        for value in getattr(node, "__dict__", {}).values():
            yield from (
                item for item in (value if isinstance(value, list) else [value]) if isinstance(item, Tensor)
            )
