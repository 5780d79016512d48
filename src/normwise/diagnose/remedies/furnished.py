"""A setup that a remedy may work on: a model of its own, and what the remedy can look at."""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from normwise.diagnose.subject import OptimizerChoice, Setup
from normwise.errors import ArgumentError, explain


@dataclass(frozen=True, eq=False)
class Furnished(Setup):
    """A setup with training inputs, and with the seed of weights that a remedy draws.

    Attributes:
        inputs: of the training part, as they come from the data; None where there are none.
        seed: of initial weights.
    """

    inputs: Tensor | None = None
    seed: int = 0


def furnished(setup: Setup, inputs: Tensor | None = None, seed: int = 0) -> Furnished:
    """The same setup with a deep copy of its model.

    Raises:
        ArgumentError: the model cannot be copied.
    """
    try:
        model = copy.deepcopy(setup.model)
    except Exception as error:
        # Any class may have its own idea of copying, and with it its own exceptions.
        must = "the model must be one that `copy.deepcopy` copies"
        raise ArgumentError(explain("fix", must, f"{type(error).__name__}: {error}")) from error
    return Furnished(**vars(replace(plain(setup), model=model)), inputs=inputs, seed=seed)


def plain(setup: Setup) -> Setup:
    """The setup alone."""
    return Setup(**{each.name: getattr(setup, each.name) for each in fields(Setup)})


def inputs_of(setup: Setup, who: str, most: int | None = None) -> Tensor:
    """Training inputs as the model gets them: transformed, at most so many, a batch where no number is given.

    Raises:
        ArgumentError: nobody handed in any.
    """
    inputs = setup.inputs if isinstance(setup, Furnished) else None
    if inputs is None:
        must, hint = f"`{who}` must have training inputs to look at", "fix.apply(setup, finding, inputs=…)"
        raise ArgumentError(explain("fix", must, "a setup without", hint))
    rows = inputs[: setup.batch_size if most is None else most]
    return rows if setup.transform is None else setup.transform(inputs)(rows)


def differences(before: Setup, after: Setup) -> frozenset[str]:
    """What two setups differ in: fields of a setup, and "lr" for the learning rate, which is not in "optimizer" here.

    Models are equal that print alike and have equal parameters and buffers.
    """
    found = {each.name for each in fields(Setup) if getattr(before, each.name) != getattr(after, each.name)}
    found -= {"model", "optimizer"}
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
    mine, theirs = model.state_dict(), other.state_dict()
    same = repr(model) == repr(other) and mine.keys() == theirs.keys()
    return same and all(torch.equal(value, theirs[name]) for name, value in mine.items())
