"""Buffers and parameters of its own for a copy of a model, which shares all others with the given one."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn


def own_statistics(model: nn.Module, names: Iterable[str]) -> None:
    """Give the modules of these names, and what is in them, buffers of their own with the same values."""
    made: dict[int, Tensor] = {}
    modules = dict(model.named_modules(remove_duplicate=False))
    # Each module once, also where one of the names is inside of another.
    for module in {id(part): part for name in names for part in modules[name].modules()}.values():
        for key, buffer in module._buffers.items():
            if buffer is not None:
                # A buffer that two modules share stays one.
                module._buffers[key] = made.setdefault(id(buffer), buffer.detach().clone())


def own_parameters(model: nn.Module, parameters: Iterable[nn.Parameter]) -> None:
    """Put parameters over the same memory into the places of these, wherever the model has them."""
    made: dict[int, nn.Parameter] = {}
    for old in parameters:
        new = nn.Parameter(old.detach(), requires_grad=old.requires_grad)
        vars(new).update(vars(old))  # what others wrote on it, such as that it has no weight decay
        made[id(old)] = new
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and id(parameter) in made:
                module._parameters[name] = made[id(parameter)]
