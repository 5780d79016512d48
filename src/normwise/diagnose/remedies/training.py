"""Another learning rate, weight decay, gradient clipping or batch."""

from __future__ import annotations

import math
from dataclasses import replace

from normwise.diagnose.subject import Setup
from normwise.errors import ArgumentError, explain


def change_rate(setup: Setup, factor: float) -> Setup:
    """Multiply the learning rate.

    Raises:
        ArgumentError: `factor` is not finite and positive.
    """
    _check("change_rate", "`factor`", factor)
    return replace(setup, optimizer=replace(setup.optimizer, lr=setup.optimizer.lr * factor))


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
