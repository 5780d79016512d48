"""The collection: each fault in each architecture with its clean twin, and the healthy programs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from normwise.diagnose.subject import Subject
from normwise.testing.faults.data import DATA
from normwise.testing.faults.dynamics import DYNAMICS
from normwise.testing.faults.fault import Edited, Fault
from normwise.testing.faults.healthy import healthy_programs
from normwise.testing.faults.numerics import NUMERICS
from normwise.testing.faults.program import Program
from normwise.testing.faults.state import STATE
from normwise.testing.faults.structure import STRUCTURE
from normwise.testing.faults.training import TRAINING

Half = Literal["calibration", "held-out"]

FAULTS: tuple[Fault, ...] = (*STRUCTURE, *NUMERICS, *STATE, *DATA, *DYNAMICS, *TRAINING)
"""Every fault."""


@dataclass(frozen=True)
class Case:
    """A program, as it is or with a fault.

    Attributes:
        program: the clean one.
        fault: None for a clean or healthy program.
    """

    program: Program
    fault: Fault | None = None

    @property
    def name(self) -> str:
        """Of the fault and the program, such as "bias-before-norm/mlp-wine-3x48-relu-batch-he-adam-b32"."""
        return self.program.name if self.fault is None else f"{self.fault.name}/{self.program.name}"

    @property
    def half(self) -> Half:
        """By a hash of the clean program alone, so that a program, its twin and all its faults stay together."""
        return "held-out" if hashlib.sha256(self.program.name.encode()).digest()[0] % 2 else "calibration"

    @property
    def twin(self) -> Case:
        """The same without the fault."""
        return Case(self.program)

    def edited(self, seed: int = 0) -> Edited:
        """The training of a seed, and where its fault is; ("",) where there is none."""
        if self.fault is None:
            return Edited(self.program.training(seed), ("",))
        return self.fault.edit(self.program, seed)

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Each name under which the place of the fault may be given; "" for the training as a whole."""
        return self.edited().layers

    def source(self) -> str:
        """The training as somebody would read it, with the fault in it; for a reader or a tool that reads code.

        >>> print(healthy()[0].source().splitlines()[-1])
        for step in range(200): train on batches of 32 of 1079 rows of 'digits'
        """
        training = self.edited().training
        setup, choice = training.setup, training.setup.optimizer
        options = "".join(f", {name}={value!r}" for name, value in choice.options)
        trained = (
            "without norms and biases in the decay" if choice.weight_decay and choice.spares_norms else "all"
        )
        mode = "model.eval()" if setup.evaluates else "model.train()"
        rows = len(training.data.inputs)
        return "\n".join(
            [
                f"model = {setup.model}",
                f"optimizer = torch.optim.{choice.name}(model.parameters(), lr={choice.lr:g}{options})  # {trained}",
                mode,
                f"for step in range({self.program.steps}): "
                f"train on batches of {setup.batch_size} of {rows} rows of {self.program.data!r}",
            ]
        )

    def subject(self, seed: int = 0) -> Subject:
        """All that a diagnosis is given: the network, a batch as the training takes it, the optimizer, the training."""
        training = self.edited(seed).training
        setup, data = training.setup, training.data
        return Subject(
            setup.model,
            self.name,
            data.inputs[: setup.batch_size],
            data.targets[: setup.batch_size],
            setup.loss,
            optimizer=setup.optimizer.make(setup.model),
            setup=setup,
            data=data,
            build=lambda other: self.edited(other).training.setup.model,
            steps=self.program.steps,
        )


def faulty(faults: Iterable[Fault] = FAULTS) -> tuple[Case, ...]:
    """Each fault in each architecture to which it applies.

    >>> cases = faulty()
    >>> len({case.fault.name for case in cases}) >= 36
    True
    """
    return tuple(
        Case(fault.program(architecture), fault) for fault in faults for architecture in fault.architectures
    )


def healthy() -> tuple[Case, ...]:
    """Programs that train well.

    >>> len(healthy()) >= 240
    True
    """
    return tuple(Case(program) for program in healthy_programs())
