"""A model looked over: which module stands where, how often, and who else holds it."""

from __future__ import annotations

from typing import Any

from torch import nn

from normwise.errors import ArgumentError, explain
from normwise.surgery._held import held
from normwise.surgery._owners import read_by_owner
from normwise.surgery._twins import obstacle

_CLOSED = {
    "torch.ao.": "it is part of a quantized module",
    "torch.jit.": "it is part of a scripted module",
    "torch._dynamo.": "it is part of a compiled module",
}
"""Packages whose modules have read their children, and do not ask them again."""


def check_model(who: str, model: Any) -> None:
    """Raise `ArgumentError`, a ValueError, unless this is a module that can be looked into."""
    if not isinstance(model, nn.Module):
        is_class = isinstance(model, type) and issubclass(model, nn.Module)
        got = f"the class {model.__name__}" if is_class else f"a {type(model).__name__}"
        hint = "call it first" if is_class else None
        raise ArgumentError(explain(who, "`model` must be a torch.nn.Module", got, hint))
    for package, what in (("torch.jit.", "scripted"), ("torch._dynamo.", "compiled")):
        if type(model).__module__.startswith(package):
            raise ArgumentError(
                explain(
                    who,
                    f"`model` must not be {what} yet",
                    f"a {type(model).__name__}",
                    f"{who} first, then compile or script",
                )
            )


class Survey:
    """The modules of a model by name and by place.

    Attributes:
        model: the model.
        modules: every module once, by its first name, in the model's order.
        at: the module of every name.
        names: of each module, by its id, all names.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.modules: dict[str, nn.Module] = {}
        self.at: dict[str, nn.Module] = {}
        self.names: dict[int, list[str]] = {}
        self._closed: dict[int, str] = {}
        for name, module in model.named_modules(remove_duplicate=False):
            if id(module) not in self.names:
                self.modules[name] = module
            self.at[name] = module
            self.names.setdefault(id(module), []).append(name)
        for module in self.modules.values():
            for package, reason in _CLOSED.items():
                if type(module).__module__.startswith(package):
                    self._closed.update((id(inner), reason) for inner in module.modules())
        self._held = held(self.modules)
        self._read = read_by_owner(self.modules)

    def obstacle(self, module: nn.Module, *, same: bool = False) -> str | None:
        """Why another module must not take this one's place; None where it may. `same`: as in `taken`."""
        return self.taken(module, same=same) or obstacle(module)

    def taken(self, module: nn.Module, *, same: bool = False) -> str | None:
        """Who else has read or holds a module, whatever it is itself, and so keeps it; None where nobody does.

        `same`: one of the same operation is to take the place, with what its owner reads under the same names.
        """
        found = self._closed.get(id(module)) or self._held.get(id(module))
        return found or (None if same else self.read(module))

    def read(self, module: nn.Module) -> str | None:
        """Who reads the parameters of a module in place of a call, now or in evaluation; None where nobody does."""
        return self._read.get(id(module))

    def shared(self, module: nn.Module) -> bool:
        """Whether the module stands at several places."""
        return len(self.names[id(module)]) > 1

    def replace(self, who: str, new: dict[int, nn.Module], *, inplace: bool) -> nn.Module:
        """Put other modules into the places of those with these ids; return the model.

        Raises:
            ArgumentError: (a ValueError) the model itself is to be replaced, in place.
        """
        if id(self.model) in new:
            if inplace:
                raise ArgumentError(
                    explain(
                        who,
                        "a layer that is the whole model cannot be replaced in place",
                        f"a {type(self.model).__name__}",
                        "use inplace=False and go on with what is returned",
                    )
                )
            return new[id(self.model)]
        for module in self.modules.values():
            for name, child in module._modules.items():
                if child is not None and id(child) in new:
                    # Not setattr: a class may have one of its own. The key keeps its position.
                    module._modules[name] = new[id(child)]
        return self.model
