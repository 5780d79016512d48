"""Normalization whose scale and shift come from a condition: one layer for any normalization and any modulation."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from normwise import functional
from normwise.errors import ArgumentError, explain
from normwise.functional.modulate import fitted
from normwise.layers._trace import as_leaf, is_traced


class ConditionalNorm(nn.Module):
    """Normalize, then scale and shift by what a condition says: ``layer(input, condition)``.

    ``y = norm(x) · (1 + γ(c)) + β(c)``. The modulations of normwise start at γ = β = 0, so that the layer starts as
    `norm`.

    Args:
        norm: a normalization, best without an affine map of its own, which the modulation makes superfluous; None for
            none, which is `FiLM`. Running statistics are its own.
        modulation: a module that takes the condition and gives γ and β, each (N, C), or with the input's axes, of its
            sizes or 1: `EmbeddingModulation`, `LinearModulation`, `SpatialModulation`, or your own.
        channels_last: channels are the last axis of the input's shape, as of tokens (N, L, C), not axis 1.

    Shapes:
        input: (N, C, *), or (N, *, C) with `channels_last`; the output has its shape, dtype and layout.
        condition: what the modulation takes, with one entry per sample.

    Raises:
        ValueError: γ or β do not fit the input's samples, channels or positions, or the norm refuses the input.

    Source: de Vries et al. 2017; Perez et al. 2018.

    >>> import torch
    >>> import normwise as nw
    >>> norm = nw.InstanceNorm2d(3)
    >>> layer = ConditionalNorm(norm, nw.EmbeddingModulation(10, 3))
    >>> x = torch.randn(2, 3, 4, 4)
    >>> torch.equal(layer(x, torch.tensor([7, 1])), norm(x))
    True
    """

    def __init__(self, norm: nn.Module | None, modulation: nn.Module, *, channels_last: bool = False) -> None:
        super().__init__()
        self.norm = norm
        self.modulation = modulation
        self.channels_last = channels_last

    def reset_parameters(self) -> None:
        """Set the norm and the modulation to their first values, as far as they can do so."""
        for part in (self.norm, self.modulation):
            reset = getattr(part, "reset_parameters", None)
            if reset is not None:
                reset()

    def prepared(self, input: Tensor, condition: Tensor) -> Tensor:
        """The condition as the modulation takes it; a class may resize it to the input's positions."""
        return condition

    def modulated(self, input: Tensor, condition: Tensor) -> tuple[Tensor, ...]:
        """The output, and what the modulation gives beyond scale and shift, with the input's axes."""
        who = type(self).__name__
        values = self.modulation(self.prepared(input, condition))
        if not isinstance(values, tuple | list) or len(values) < 2:
            got = (
                f"a tensor of shape {tuple(values.shape)}"
                if isinstance(values, Tensor)
                else repr(type(values))
            )
            raise ArgumentError(
                explain(
                    who,
                    "the modulation must give a scale and a shift, two tensors",
                    got,
                    "split one with chunk(2, dim)",
                )
            )
        # Before the norm: a condition that does not fit must not move running statistics.
        scale, shift, *more = (
            fitted(who, name, value, input, self.channels_last)
            for name, value in zip(("scale", "shift", "gate"), values, strict=False)
        )
        hat = input if self.norm is None else self.norm(input)
        output = functional.modulate(hat, scale, shift, channels_last=self.channels_last, who=who)
        return (output, *(part.to(output.dtype) for part in more))

    def forward(self, input: Tensor, condition: Tensor) -> Any:
        """Normalize the input, and modulate it by the condition."""
        if is_traced(input):
            return as_leaf(self, input, condition)
        return self.modulated(input, condition)[0]

    def extra_repr(self) -> str:
        """The arguments that are no modules."""
        return "channels_last=True" if self.channels_last else ""
