"""Whether a changed model runs."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from normwise.errors import ArgumentError, explain
from normwise.graph.trace import arguments_of


def check_runs(who: str, trial: nn.Module, example: Any, *, how: str, hint: str) -> None:
    """Run a model on copies of it, in both modes.

    Args:
        who: the operation that changed it.
        trial: the changed model, which stays as it is.
        example: its input.
        how: what was changed, such as "with its norms".
        hint: what to do where it does not run.

    Raises:
        ArgumentError: (a ValueError) it raises.
    """
    arguments, named = arguments_of(example)
    for training in (False, True):
        model = copy.deepcopy(trial).train(training)
        try:
            with torch.random.fork_rng(), torch.no_grad():
                model(*arguments, **named)
        except Exception as error:
            mode = "training" if training else "evaluation"
            must = f"the model must run {how} in {mode}"
            raise ArgumentError(explain(who, must, f"{type(error).__name__}: {error}", hint)) from error
