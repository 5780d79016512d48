"""Which of normwise's implementations runs: asked for by name, and told for the record."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from normwise.bench.workload import Workload
from normwise.kernels import registry


@dataclass(frozen=True)
class Ran:
    """What a call ran.

    Attributes:
        name: the back end; several with commas between them, where the layers of a network differ.
        isa: the instruction set of normwise's kernels; "" where none ran.
        reason: why nothing faster ran; "" where there is nothing to say.
    """

    name: str
    isa: str = ""
    reason: str = ""


def using(name: str) -> AbstractContextManager[None]:
    """Return a context in which normwise's layers run on a back end; "auto" leaves the choice to them.

    Raises:
        UnknownNameError: there is none of this name.
    """
    registry.checked(name)
    # What the environment asks for stays in force as long as nothing else is asked for here.
    return contextlib.nullcontext() if name == "auto" else registry.use_backend(name)


def what_runs(work: Workload) -> Ran:
    """Run normwise's side of a workload forward once and return what it ran.

    Raises:
        BackendError: the back end that was asked for by name cannot take it.
    """
    with registry.recorded() as choices, torch.inference_mode(work.mode == "evaluation"):
        work.forward(work.ours)
    names = sorted({choice.backend for choice in choices}) or ["aten"]
    isa = next((choice.isa for choice in choices if choice.isa is not None), "")
    reasons = {f"not {name}: {reason}" for choice in choices for name, reason in choice.refused.items()}
    return Ran(", ".join(names), isa, "; ".join(sorted(reasons)))
