"""Dropout."""

from __future__ import annotations

import torch
from torch import Tensor

from normwise.errors import ArgumentError, explain
from normwise.kernels import aten, cpu
from normwise.kernels.registry import note_aten, requested


def dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    generator: torch.Generator | None = None,
    stacked: int = 1,
    backend: str | None = None,
) -> Tensor:
    """Set elements to zero with probability p, and scale the rest by ``1 / (1 − p)``.

    On the CPU normwise's kernel draws one seed from torch's generator and computes the mask from it, in both passes,
    by Philox4x32-10 with sixteen bits an element: p is rounded to a multiple of 1/65536, and the rest is scaled by the
    exact inverse of the probability that it has. The mask depends on the seed and the elements' order in memory alone.

    Args:
        input: any shape.
        p: the probability of a zero.
        training: drop; otherwise the input is returned.
        inplace: write into the input.
        generator: where the seed is drawn; None for torch's default.
        stacked: K models along the first axis, each dropped as if alone, by a seed of its own.
        backend: one of `normwise.kernels.registry.BACKENDS`; None for the one in force. Masks
            of torch's operators are other ones.

    Returns:
        The input's shape, dtype and layout.

    Raises:
        ArgumentError: (a ValueError) p is no probability, or the first axis does not divide into K.
        BackendError: the back end was asked for by name and cannot run.

    Source: Srivastava et al. 2014, in the inverted form; Salmon et al. 2011 for Philox.

    >>> dropout(torch.ones(4), 0.5, training=False)
    tensor([1., 1., 1., 1.])
    """
    check_rate("dropout", "p", p)
    if not training or p == 0.0:
        return input
    if stacked < 1 or (stacked > 1 and (input.dim() == 0 or input.shape[0] % stacked)):
        raise ArgumentError(
            explain(
                "dropout",
                f"the first axis must hold `stacked` = {stacked} models",
                f"shape {tuple(input.shape)}",
            )
        )
    backend = requested(backend)
    if backend != "aten" and p < 1.0:
        output = cpu.attempt_dropout(backend, input, p, inplace, stacked, generator)
        if output is not None:
            return output
    else:
        note_aten("dropout", input.shape)
    return aten.dropout(input, p, inplace, generator)


def check_rate(who: str, name: str, rate: float) -> None:
    """Raise `ArgumentError`, a ValueError, unless the rate is a probability."""
    if not 0.0 <= rate <= 1.0:
        raise ArgumentError(
            explain(
                who,
                f"`{name}`: dropout probability has to be between 0 and 1",
                f"{rate}",
                "it is the part of the elements that is dropped",
            )
        )
