"""Another learning rate, weight decay, gradient clipping or batch."""

from __future__ import annotations

import inspect
import math
from dataclasses import replace
from typing import Any

import torch

from normwise.diagnose.subject import Setup
from normwise.errors import ArgumentError, explain, unknown_name


def change_rate(setup: Setup, factor: float) -> Setup:
    """Multiply the learning rate.

    Raises:
        ArgumentError: `factor` is not finite and positive.
    """
    _check("change_rate", "`factor`", factor)
    return replace(setup, optimizer=replace(setup.optimizer, lr=setup.optimizer.lr * factor))


def change_optimizer(setup: Setup, name: str, lr: float | None = None, **options: Any) -> Setup:
    """Another optimizer, with those of the options of before that it takes.

    Args:
        setup: whose optimizer it is.
        name: of torch's class.
        lr: learning rate; None for that of before.
        options: that it gets, such as weight_decay.

    Raises:
        UnknownNameError: torch has no such optimizer.
    """
    kinds = {kind.__name__: kind for kind in vars(torch.optim).values() if isinstance(kind, type)}
    if name not in kinds:
        raise unknown_name("change_optimizer", "optimizer", name, kinds)
    takes = inspect.signature(kinds[name]).parameters
    kept = {option: value for option, value in setup.optimizer.options if option in takes}
    rate = setup.optimizer.lr if lr is None else lr
    chosen = replace(setup.optimizer, name=name, lr=rate, options=tuple((kept | options).items()))
    return replace(setup, optimizer=chosen)


def change_decay(setup: Setup, weight_decay: float) -> Setup:
    """Another weight decay; 0 for none.

    Raises:
        ArgumentError: it is negative or not finite.
    """
    if weight_decay != 0:
        _check("change_decay", "`weight_decay`", weight_decay)
    return replace(setup, optimizer=setup.optimizer.with_options(weight_decay=weight_decay))


def spare_norms(setup: Setup) -> Setup:
    """Leave norms and biases out of weight decay."""
    return replace(setup, optimizer=replace(setup.optimizer, spares_norms=True))


def clip(setup: Setup, norm: float) -> Setup:
    """Clip gradients to this norm, or to the one that is clipped to already where that is smaller.

    Raises:
        ArgumentError: `norm` is not finite and positive.
    """
    _check("clip", "`norm`", norm)
    return replace(setup, clip=norm if setup.clip is None else min(norm, setup.clip))


def larger_batch(setup: Setup, size: int) -> Setup:
    """Train on batches of so many samples, or of as many as before where that is more."""
    return replace(setup, batch_size=max(size, setup.batch_size))


def _check(who: str, what: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ArgumentError(explain(who, f"{what} must be finite and positive", repr(value)))
