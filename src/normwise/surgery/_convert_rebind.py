"""Parameters that took the place of others, and optimizers that are to know of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from normwise.errors import ArgumentError, explain
from normwise.results.edits import Edit, Edits


@dataclass(frozen=True, eq=False)
class Rebinding:
    """What became of the parameters of a model.

    Attributes:
        names: of all parameters of both models, by id, each with the parameter, which so keeps its id.
        successors: of each old parameter that is no longer there, by id, the new one, or None where there is none.
        added: new parameters without an old one, by id, each with the ids of those beside which it belongs.
    """

    names: dict[int, tuple[str, Tensor]] = field(default_factory=dict)
    successors: dict[int, nn.Parameter | None] = field(default_factory=dict)
    added: dict[int, tuple[nn.Parameter, tuple[int, ...]]] = field(default_factory=dict)


class Conversion(Edits):
    """What was changed in a model, and how an optimizer comes to know of it."""

    _rebinding = Rebinding()

    @classmethod
    def of(cls, entries: tuple[Edit, ...], notes: tuple[str, ...], rebinding: Rebinding) -> Conversion:
        """The record of a conversion."""
        made = cls("convert", entries, notes)
        # No field: the record goes to JSON, and tensors do not.
        object.__setattr__(made, "_rebinding", rebinding)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        # Parameters are known by their identity, which neither a copy nor a file keeps.
        return (Conversion, (self.operation, self.entries, self.notes, self.schema))

    def rebind(self, optimizer: torch.optim.Optimizer) -> Edits:
        """Let an optimizer of the model that was given go on with the one that came back; it is changed in place.

        A parameter that was replaced is replaced in its group, and its state (momentum, moments, steps) goes over
        where the shape is the same. What has no successor is dropped with its state. What is new joins the group of the
        parameters of its layer, at the place at which ``model.parameters()`` gives it: so the optimizer's state_dict
        fits one that is made anew for the converted model. Doing it twice is doing it once.

        Returns:
            What was changed, parameter by parameter.

        Raises:
            ArgumentError: (a ValueError) no optimizer, one of another model, or one that keeps what must be replaced
                somewhere else than in its groups, as LBFGS does.
        """
        return _rebind(self._rebinding, optimizer)


def _rebind(rebinding: Rebinding, optimizer: Any) -> Edits:
    _check(rebinding, optimizer)
    entries: list[Edit] = []
    groups, state = [], dict(optimizer.state)
    bound = {id(p) for group in optimizer.param_groups for p in group["params"]}
    # The parameters of the new model come first among the names, and in its order.
    order = {key: number for number, key in enumerate(rebinding.names)}
    for number, group in enumerate(optimizer.param_groups):
        named = group.get("param_names") or [None] * len(group["params"])
        kept: list[tuple[Tensor, str | None]] = []
        for parameter, label in zip(group["params"], named, strict=True):
            new = rebinding.successors.get(id(parameter), parameter)
            if new is not parameter:
                entries.append(_moved(rebinding, parameter, new, state, number))
            if new is not None and not any(new is other for other, _ in kept):
                kept.append((new, label))
        here = {id(p) for p in group["params"]} | {id(p) for p, _ in kept}
        for key, (parameter, beside) in rebinding.added.items():
            if key not in bound and here & set(beside):
                bound.add(key)
                kept.insert(_place(order, kept, parameter), (parameter, rebinding.names[key][0]))
                after = f"in group {number}"
                entries.append(Edit(rebinding.names[key][0], "", after, "new, beside those of its layer"))
        groups.append(kept)
    for group, kept in zip(optimizer.param_groups, groups, strict=True):
        group["params"][:] = [parameter for parameter, _ in kept]
        if "param_names" in group:
            group["param_names"][:] = [label for _, label in kept]
    optimizer.state.clear()
    optimizer.state.update(state)
    return Edits("rebind", tuple(entries))


def _place(order: dict[int, int], kept: list[tuple[Tensor, str | None]], new: Tensor) -> int:
    """Where a parameter belongs in a group: right behind the nearest that comes before it in the new model.

    An optimizer that is made anew has this order, and a state_dict knows parameters by their number alone.
    """
    mine = order[id(new)]
    before = [(order.get(id(p), -1), at) for at, (p, _) in enumerate(kept) if order.get(id(p), mine) < mine]
    if before:
        return max(before)[1] + 1
    return 0


def _moved(
    rebinding: Rebinding, old: Tensor, new: nn.Parameter | None, state: dict[Any, Any], number: int
) -> Edit:
    name, before = rebinding.names[id(old)][0], f"in group {number}"
    values = state.pop(old, None)
    if new is None:
        return Edit(name, before, "", "it has no successor")
    after = f"another in group {number}"
    if not values:
        return Edit(name, before, after, "it had no state yet")
    if new.shape != old.shape:
        return Edit(name, before, after, f"its state fits {tuple(old.shape)} alone, and begins anew")
    state[new] = values
    return Edit(name, before, after, f"with its {', '.join(values)}")


def _check(rebinding: Rebinding, optimizer: Any) -> None:
    if not isinstance(optimizer, torch.optim.Optimizer):
        must = "`optimizer` must be a torch.optim.Optimizer"
        raise ArgumentError(explain("rebind", must, f"a {type(optimizer).__name__}"))
    bound = [p for group in optimizer.param_groups for p in group["params"]]
    if not any(id(p) in rebinding.names for p in bound):
        raise ArgumentError(
            explain(
                "rebind",
                "the optimizer must be one of the model that was converted",
                f"a {type(optimizer).__name__} without any of its parameters",
                "take the record that came with this model",
            )
        )
    for name, value in vars(optimizer).items():
        if name not in ("param_groups", "state") and any(
            id(item) in rebinding.successors for item in _inside(value)
        ):
            raise ArgumentError(
                explain(
                    "rebind",
                    "an optimizer must keep its parameters in its groups alone",
                    f"a {type(optimizer).__name__} that keeps them in `{name}`, too",
                    "make a new one for the converted model",
                )
            )


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, Iterable) and not isinstance(value, str):
        yield from value if isinstance(value, list | tuple | set) else ()
