"""What a fused layer does after the normalization: residual, activation, dropout."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from normwise.errors import unknown_name
from normwise.kernels import aten

ACTIVATION_NAMES: tuple[str, ...] = tuple(aten.ACTIVATIONS)


def finish(
    input: Tensor,
    residual: Tensor | None = None,
    activation: str = "none",
    dropout: float = 0.0,
    training: bool = False,
) -> Tensor:
    """Add a residual, apply an activation, drop elements; in this order.

    ``y = dropout(activation(x + residual))``.

    Args:
        input: a normalized tensor of any shape.
        residual: added before the activation; broadcasts.
        activation: one of `ACTIVATION_NAMES`; "gelu" is the exact form, "leaky_relu" has the slope 0.01.
        dropout: probability of an element to be zeroed in training, the others are scaled by ``1 / (1 − dropout)``.
        training: drop elements.

    Returns:
        The input's shape and dtype.

    Raises:
        UnknownNameError: the activation is not known.

    >>> import torch
    >>> finish(torch.tensor([1.0, -3.0]), residual=torch.tensor([1.0, 1.0]), activation="relu")
    tensor([2., 0.])
    """
    if residual is not None:
        input = input + residual
    if activation != "none":
        known = aten.ACTIVATIONS.get(activation)
        if known is None:
            raise unknown_name("finish", "activation", activation, ACTIVATION_NAMES)
        input = known(input)
    return F.dropout(input, dropout, True) if training and dropout else input
