"""Faults of the training: learning rates, decay, dropout, the loss, and too little data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor, nn

from normwise.diagnose.subject import Data, Setup
from normwise.testing.faults.fault import Fault, on_data, on_model, on_setup
from normwise.testing.faults.places import insert

_MOMENTUM = {"optimizer": "momentum"}


def _rate(factor: float) -> Callable[[Setup], Setup]:
    return lambda setup: replace(setup, optimizer=replace(setup.optimizer, lr=factor * setup.optimizer.lr))


def _options(**changed: float) -> Callable[[Setup], Setup]:
    return lambda setup: replace(setup, optimizer=setup.optimizer.with_options(**changed))


def _negated(setup: Setup) -> Setup:
    loss = setup.loss

    def negative(output: Tensor, targets: Tensor) -> Tensor:
        return -loss(output, targets)

    return replace(setup, loss=negative)


def _few(data: Data) -> Data:
    """Thirty rows, of which every third has the target of another one."""
    inputs, targets = data.inputs[:30], data.targets[:30].clone()
    targets[::3] = targets[::3].roll(1)
    return replace(data, inputs=inputs, targets=targets)


def _heavy_dropout(model: nn.Module) -> Sequence[str]:
    added = insert(model, "head.output", "dropout_heavy", nn.Dropout(0.97), after=False)
    return "", added, "head.output"


def _scaled_up(setup: Setup) -> Setup:
    """A sum where a mean was meant, about."""
    loss = setup.loss

    def scaled(output: Tensor, targets: Tensor) -> Tensor:
        return 1000 * loss(output, targets)

    return replace(setup, loss=scaled)


TRAINING = (
    Fault(
        "learning-rate-too-high",
        "dynamics",
        ("NW506", "NW512", "NW508"),
        "a learning rate a hundred times what it should be",
        on_setup(_rate(100)),
        needs=_MOMENTUM,
    ),
    Fault(
        "learning-rate-too-low",
        "dynamics",
        ("NW507",),
        "a learning rate a thousandth of what it should be",
        on_setup(_rate(1e-3)),
    ),
    Fault(
        "oscillation",
        "dynamics",
        ("NW508", "NW506"),
        "momentum 0.995, where 0.9 was meant: the loss swings",
        on_setup(_options(momentum=0.995)),
        needs=_MOMENTUM,
    ),
    Fault(
        "plateau",
        "dynamics",
        ("NW509", "NW507"),
        "the learning rate decays within the first steps",
        on_setup(_options(lr_decay=30.0)),
        needs={"optimizer": "adagrad"},
    ),
    Fault(
        "divergence",
        "dynamics",
        ("NW512", "NW506"),
        "a learning rate ten thousand times what it should be",
        on_setup(_rate(1e4)),
        needs=_MOMENTUM,
    ),
    Fault(
        "loss-scaled",
        "dynamics",
        ("NW506", "NW512", "NW508", "NW502"),
        "a loss a thousand times as large, under an optimizer that is not invariant to it",
        on_setup(_scaled_up),
        needs=_MOMENTUM,
    ),
    Fault(
        "wrong-sign",
        "dynamics",
        ("NW512",),
        "the loss is maximised",
        on_setup(_negated),
    ),
    Fault(
        "overfitting",
        "dynamics",
        ("NW510",),
        "thirty training samples, a third of them with a wrong target",
        on_data(_few),
    ),
    Fault(
        "heavy-dropout",
        "dynamics",
        ("NW511",),
        "97 % of the features are dropped in front of the last layer",
        on_model(_heavy_dropout),
        needs={"optimizer": "adam"},
    ),
    Fault(
        "heavy-decay",
        "dynamics",
        ("NW511",),
        "a weight decay that outweighs the data",
        on_setup(_options(weight_decay=1.0)),
        needs=_MOMENTUM,
    ),
)
