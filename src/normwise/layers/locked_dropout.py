"""Dropout with one mask for all time steps."""

from __future__ import annotations

from torch import Tensor

from normwise.errors import ArgumentError, explain
from normwise.layers._draws import Drops, drop


class LockedDropout(Drops):
    """Zero features of a sequence at all its time steps alike in training, scale the rest by ``1 / (1 − p)``.

    One mask a sequence, (N, C), drawn anew at each call. With `batch_first` this is what is called spatial dropout of
    channels-last sequences, too (Keras's `SpatialDropout1D`); for channels first, (N, C, L), it is `Dropout1d`.

    Args:
        p: the probability of a zero.
        batch_first: the input is (N, L, C), not (L, N, C); a sequence alone is (L, C) either way.

    Raises:
        ArgumentError: (a ValueError) p is no probability, or the input has other than 2 or 3 axes.

    Source: Gal & Ghahramani 2016 (variational dropout); Merity, Keskar & Socher 2018 for the name.

    >>> import torch
    >>> output = LockedDropout(0.5, batch_first=True)(torch.ones(2, 7, 3))
    >>> torch.equal(output, output[:, :1].expand(2, 7, 3))
    True
    """

    def __init__(self, p: float = 0.5, *, batch_first: bool = False) -> None:
        super().__init__(p)
        self.batch_first = batch_first

    def disturb(self, input: Tensor) -> Tensor:
        """Drop features."""
        if input.dim() not in (2, 3):
            order = "(N, L, C)" if self.batch_first else "(L, N, C)"
            raise ArgumentError(
                explain(
                    "LockedDropout", f"the input must be {order} or (L, C)", f"shape {tuple(input.shape)}"
                )
            )
        time = 1 if self.batch_first and input.dim() == 3 else 0
        return drop(input, tuple(1 if axis == time else n for axis, n in enumerate(input.shape)), self.p)

    def extra_repr(self) -> str:
        """The rate, and the axis of time."""
        return f"{super().extra_repr()}, batch_first={self.batch_first}"
