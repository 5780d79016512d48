"""The factor by which weights make up for an activation that follows."""

from __future__ import annotations

import math

from normwise.errors import unknown_name

# 1 / sqrt(E f(z)²) for z standard normal; the last four by quadrature.
GAINS: dict[str, float] = {
    "linear": 1.0,
    "relu": math.sqrt(2.0),
    "leaky_relu": math.sqrt(2.0 / (1.0 + 0.01**2)),
    "gelu": 1.5335304412245632,
    "silu": 1.676532470362826,
    "tanh": 1.5925374197529762,
    "sigmoid": 1.846228545373552,
}


def gain(activation: str) -> float:
    """Return ``1 / sqrt(E f(z)²)``, z standard normal, for the activation f of this name."""
    if activation not in GAINS:
        raise unknown_name("initialize_", "activation", activation, GAINS)
    return GAINS[activation]
