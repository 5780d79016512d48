"""Weights drawn anew."""

from __future__ import annotations

from collections import Counter

import torch

from normwise.diagnose.remedies.activation import kind_of_activation
from normwise.diagnose.remedies.setup import inputs_of
from normwise.diagnose.subject import Setup
from normwise.initialize import initialize_
from normwise.initialize._gain import GAINS


def initialise(setup: Setup, scheme: str = "he", *, scale: float = 1.0) -> Setup:
    """Draw the weights of linear layers and convolutions anew, and set their biases to zero.

    The gain is that of the model's most frequent activation, ReLU's where no activation is a module. The seed is drawn
    from torch's random state.

    Args:
        setup: of which the model gets the weights.
        scheme: "he", "xavier", "orthogonal", "lsuv" or "gaussian"; `normwise.initialize_` has them.
        scale: factor on all weights.

    Raises:
        UnknownNameError: no such scheme.
        ArgumentError: the model has no such layer; "lsuv" has no example, or a layer does not vary over it.
    """
    kinds = Counter(kind for module in setup.model.modules() if (kind := kind_of_activation(module)) in GAINS)
    initialize_(
        setup.model,
        scheme,
        scale=scale,
        seed=int(torch.randint(2**31, ())),
        batch=inputs_of(setup, "initialise") if scheme == "lsuv" else None,
        activation=kinds.most_common(1)[0][0] if kinds else "relu",
    )
    return setup
