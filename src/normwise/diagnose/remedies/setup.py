"""Setups that remedies work on: copies, what they hold to look at, and what became of them."""

from __future__ import annotations

from dataclasses import fields, replace

import torch
from torch import Tensor, nn

from normwise.diagnose.subject import OptimizerChoice, Setup
from normwise.errors import ArgumentError, explain
from normwise.models.left_alone import detached_copy


def copied(setup: Setup) -> Setup:
    """The same setup with a deep copy of its model.

    Raises:
        ArgumentError: the model cannot be copied.
    """
    try:
        return replace(setup, model=detached_copy(setup.model))
    except Exception as error:
        # Any class may have its own idea of copying, and with it its own exceptions.
        must = "the model must be one that `copy.deepcopy` copies"
        raise ArgumentError(explain("fix", must, f"{type(error).__name__}: {error}")) from error


def inputs_of(setup: Setup, who: str) -> Tensor:
    """The setup's example as the model gets it; a transform is made of the example itself.

    Raises:
        ArgumentError: there is no example.
    """
    if setup.example is None:
        must, hint = f"`{who}` must have inputs to look at", "give the setup an `example`"
        raise ArgumentError(explain("fix", must, "a setup without", hint))
    return setup.example if setup.transform is None else setup.transform(setup.example)(setup.example)


def differences(before: Setup, after: Setup) -> frozenset[str]:
    """What two setups train differently: fields of a setup, and "lr" for the rate, which "optimizer" leaves out here.

    Models are equal that have equal modules, parameters and buffers; their modes are those that the training sets.
    """
    plain = [each.name for each in fields(Setup) if each.name not in ("model", "optimizer", "example")]
    found = {name for name in plain if getattr(before, name) != getattr(after, name)}
    if before.optimizer.lr != after.optimizer.lr:
        found.add("lr")
    if _effective(before.optimizer) != _effective(after.optimizer):
        found.add("optimizer")
    return frozenset(found if _alike(before.model, after.model) else found | {"model"})


def _effective(choice: OptimizerChoice) -> tuple[object, ...]:
    """All that an optimizer does, but for its learning rate; what weight decay spares counts where there is some."""
    decay = choice.weight_decay
    others = {name: value for name, value in choice.options if name != "weight_decay"}
    return choice.name, decay, choice.spares_norms or not decay, others


def _alike(model: nn.Module, other: nn.Module) -> bool:
    mine, theirs = dict(model.named_modules()), dict(other.named_modules())
    same = repr(model) == repr(other) and mine.keys() == theirs.keys()
    return same and all(_equal(module, theirs[name]) for name, module in mine.items())


def _equal(module: nn.Module, other: nn.Module) -> bool:
    """Whether two modules are equal, apart from their children and modes."""
    if type(module) is not type(other) or _values(module) != _values(other):
        return False
    mine, theirs = ({**each._parameters, **each._buffers} for each in (module, other))
    return mine.keys() == theirs.keys() and all(_same(tensor, theirs[name]) for name, tensor in mine.items())


def _values(module: nn.Module) -> dict[str, object]:
    """Attributes of a module: numbers and words by value, all others by name."""
    plain = (bool, int, float, str)
    held = {name: value for name, value in vars(module).items() if name != "training"}
    return {name: value if isinstance(value, plain) else None for name, value in held.items()}


def _same(tensor: Tensor | None, other: Tensor | None) -> bool:
    if tensor is None or other is None:
        return tensor is other
    alike = tensor.dtype == other.dtype and tensor.requires_grad == other.requires_grad
    return alike and torch.equal(tensor, other)
