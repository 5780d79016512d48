"""What a fused layer does after the normalization: residual, activation, dropout."""

from __future__ import annotations

import torch
from torch import Tensor

from normwise.errors import ArgumentError, explain, unknown_name
from normwise.functional.dropout import check_rate, dropout as drop
from normwise.kernels import aten

ACTIVATION_NAMES: tuple[str, ...] = tuple(aten.ACTIVATIONS)


def finish(
    input: Tensor,
    residual: Tensor | None = None,
    activation: str = "none",
    dropout: float = 0.0,
    training: bool = False,
    *,
    generator: torch.Generator | None = None,
    backend: str | None = None,
) -> Tensor:
    """Add a residual, apply an activation, drop elements; in this order.

    ``y = dropout(activation(x + residual))``.

    Args:
        input: a normalized tensor of any shape.
        residual: of the input's shape, added before the activation.
        activation: one of `ACTIVATION_NAMES`; "gelu" is the exact form, "leaky_relu" has the slope 0.01.
        dropout: probability of a zero in training; the rest is scaled by ``1 / (1 − dropout)``.
        training: drop elements.
        generator: where dropout's seed is drawn; None for torch's default.
        backend: of dropout; see `normwise.functional.dropout`.

    Returns:
        The input's shape and dtype.

    Raises:
        UnknownNameError: the activation is not known.
        ArgumentError: (a ValueError) the residual has another shape.

    >>> import torch
    >>> finish(torch.tensor([1.0, -3.0]), residual=torch.tensor([1.0, 1.0]), activation="relu")
    tensor([2., 0.])
    """
    if residual is None and activation == "none" and not dropout:
        return input
    check_after(input, residual, activation)
    if residual is not None:
        input = input + residual
    if activation != "none":
        input = aten.ACTIVATIONS[activation](input)
    if training and dropout:
        return drop(input, dropout, True, generator=generator, backend=backend)
    return input


def check_after(input: Tensor, residual: Tensor | None, activation: str) -> None:
    """Raise unless the residual has the input's shape and the activation is known.

    Raises:
        UnknownNameError: the activation is not known.
        ArgumentError: (a ValueError) the residual has another shape.
    """
    # A residual that broadcast would repeat samples or change the output's shape unnoticed.
    if residual is not None and residual.shape != input.shape:
        raise ArgumentError(
            explain(
                "finish",
                "`residual` must have the input's shape",
                f"{tuple(residual.shape)} and {tuple(input.shape)}",
            )
        )
    if activation not in aten.ACTIVATIONS:
        raise unknown_name("finish", "activation", activation, ACTIVATION_NAMES)


def check_finish(who: str, activation: str, dropout: float) -> None:
    """Raise unless the activation is known and the drop rate is a probability.

    Raises:
        UnknownNameError: the activation is not known.
        ArgumentError: (a ValueError) the rate is not between 0 and 1.
    """
    if activation not in aten.ACTIVATIONS:
        raise unknown_name(who, "activation", str(activation), ACTIVATION_NAMES)
    check_rate(who, "dropout", dropout)
