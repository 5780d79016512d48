"""The group lasso over channels, whose proximal step removes whole channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from normwise.errors import ArgumentError, explain, unknown_name
from normwise.regularizers._blocks import added, blocks, lengths, wide
from normwise.regularizers._penalty import Penalty
from normwise.regularizers._proximal import steppable
from normwise.regularizers._selection import WEIGHTED, Pick


class GroupLasso(Penalty):
    """Penalise the lengths of channels: ``strength · Σ_g √p_g · ‖w_g‖₂``, p_g the weights of channel g.

    A channel is all weights of an output unit (or all that read an input channel), wherever its module stores them:
    along the first axis of linear layers and convolutions, along the second of transposed convolutions, group by
    group of a convolution with `groups`. Of other `owners` the first axis is taken for output units.

    Added to the loss, its gradient is ``strength · √p_g · w_g / ‖w_g‖`` and 0 for a zero channel; channels get short
    and practically never exactly zero. For zeros, leave it out of the loss and call `proximal_step_` after the
    optimizer's step. A unit that is to go wholly needs its bias in a penalty, too, or a norm without shift behind.

    Args:
        strength: the factor, finite and ≥ 0; per unit of loss.
        channels: "output" for output units, "input" for input channels.
        owners: classes of the modules whose weights are penalised; linear layers and convolutions.
        parameters: names of the parameters; each number of a bias is a channel of its own.

    The sum is in the weights' dtype, float32 where that is a 16-bit one. Shared weights count once. A
    weight-normalized weight is penalised by its effective value.

    Raises:
        ArgumentError: a wrong argument, or, when called, a model without such a weight.
        UnknownNameError: `channels` is neither word.

    Source: Yuan & Lin, "Model selection and estimation in regression with grouped variables", 2006, equation 2.1;
    Wen et al., "Learning structured sparsity in deep neural networks", 2016, who leave √p_g out.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, 4.0], [0.3, 0.4]]))
        >>> round(GroupLasso(1.0)(layer).item() / math.sqrt(2), 4)
        5.5
        >>> GroupLasso(1 / math.sqrt(2)).proximal_step_(layer, lr=1.0)
        >>> layer.weight.data
        tensor([[2.4000, 3.2000],
                [0.0000, 0.0000]])
    """

    def __init__(
        self,
        strength: float,
        *,
        channels: Literal["output", "input"] = "output",
        owners: Sequence[type[nn.Module]] = WEIGHTED,
        parameters: Sequence[str] = ("weight",),
    ) -> None:
        super().__init__(strength, owners=owners, parameters=parameters)
        if channels not in ("output", "input"):
            raise unknown_name("GroupLasso", "`channels`", channels, ("output", "input"))
        self.channels = channels

    @torch.no_grad()
    def proximal_step_(self, model: nn.Module, lr: float) -> None:
        """Soft-threshold the channels in place: ``w_g ← w_g · max(1 − lr · strength · √p_g / ‖w_g‖, 0)``.

        With plain gradient descent of the same `lr` the two steps together are proximal gradient descent on loss +
        penalty. Frozen weights stay.

        Args:
            model: the network.
            lr: the learning rate of the optimizer's step before, finite and > 0.

        Raises:
            ArgumentError: `lr` is wrong, or a weight is under a parametrization.

        Source: Parikh & Boyd, "Proximal algorithms", 2014, section 6.5.4.
        """
        for pick in steppable(self._pick(model), lr, "GroupLasso.proximal_step_"):
            block, axes, size = self._grouped(pick)
            reach = lr * self.strength * math.sqrt(size)
            norms = lengths(wide(block), axes)
            gone = norms <= reach  # false for NaN, which is to be seen
            factors = 1 - reach / torch.where(gone, 1.0, norms)
            block.copy_(torch.where(gone, 0.0, wide(block) * factors))

    def _value(self, picks: list[Pick]) -> Tensor:
        parts = []
        for pick in picks:
            block, axes, size = self._grouped(pick)
            parts.append(math.sqrt(size) * lengths(wide(block), axes).sum())
        return self.strength * added(parts)

    def _grouped(self, pick: Pick) -> tuple[Tensor, tuple[int, ...], int]:
        """The weight in blocks, the axes within a channel, and how many weights a channel has."""
        if self.channels == "input" and pick.tensor.dim() < 2:
            raise ArgumentError(
                explain(
                    "GroupLasso",
                    'a parameter of channels="input" must have an axis of inputs',
                    f"{pick.name!r} of shape {tuple(pick.tensor.shape)}",
                    'leave "bias" out of `parameters`',
                )
            )
        block = blocks(pick.owner, pick.tensor)
        kept = (0, 1) if self.channels == "output" else (0, 2)
        axes = tuple(axis for axis in range(block.dim()) if axis not in kept)
        return block, axes, math.prod(block.shape[axis] for axis in axes)

    def _arguments(self) -> str:
        return f"{self.strength!r}, channels={self.channels!r}"
