"""Conditional normalizations, in a module that takes the condition out of the input itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from normwise import layers as nw
from normwise.testing._backends import BACKENDS
from normwise.testing._case import LayerCase
from normwise.testing.cases._shapes import SHAPES, Make

_TOKENS = (3, 5, 6)
_KERNELS = {**BACKENDS, "twin": "none"}


class Conditioned(nn.Module):
    """A conditional layer as one of a single input, for the contract: the condition is a function of the input.

    The functions give numbers of the input as they are, so that they are the same in every dtype.
    """

    def __init__(self, layer: nn.Module, condition: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer = layer
        self.condition = condition

    def forward(self, input: Tensor) -> Any:
        """The layer's output."""
        return self.layer(input, self.condition(input))


class Gated(Conditioned):
    """A residual block around a layer that gives a gate, too."""

    def forward(self, input: Tensor) -> Any:
        """The input and the gated branch."""
        inner, gate = self.layer(input, self.condition(input))
        return input + gate * torch.tanh(inner)


def vector(input: Tensor) -> Tensor:
    """Four numbers of each sample."""
    return input.flatten(1)[:, :4]


def vectors(input: Tensor) -> Tensor:
    """Four numbers of each token."""
    return input[..., :4]


def classes(input: Tensor) -> Tensor:
    """A class of each sample, 0 or 1."""
    return (input.flatten(1)[:, 0] > 0.5).long()


def labels(input: Tensor) -> Tensor:
    """A map of two channels, with every other place on the last axis."""
    return input[:, :2, ..., ::2]


def style(input: Tensor) -> Tensor:
    """The features of another sample, but for the last place."""
    return input.flip(0)[..., :-1] * 2


def cases() -> dict[str, LayerCase]:
    """Every conditional class over its ranks, and every modulation; name → case."""
    found: dict[str, LayerCase] = {}

    def add(
        name: str,
        make: Make,
        condition: Callable[[Tensor], Tensor],
        shape: tuple[int, ...],
        *,
        kernels: bool = True,
        block: type[Conditioned] = Conditioned,
    ) -> None:
        found[name] = LayerCase(
            partial(_compose, block, make, condition), shape, backends=_KERNELS if kernels else None
        )

    for rank, shape in SHAPES.items():
        batch = getattr(nw, f"ConditionalBatchNorm{rank}d")
        add(f"ConditionalBatchNorm{rank}d", partial(batch, 6, 2), classes, shape)
        instance = getattr(nw, f"AdaInstanceNorm{rank}d")
        add(f"AdaInstanceNorm{rank}d", partial(instance, 6, 4), vector, shape)
        spade = getattr(nw, f"SPADE{rank}d")
        add(f"SPADE{rank}d", partial(spade, 6, 2, hidden=3), labels, shape)
        add(f"AdaIN, {rank}d", nw.AdaIN, style, shape)
    plane, flat = SHAPES[2], (4, 6)
    add("ConditionalBatchNorm1d, flat", lambda: nw.ConditionalBatchNorm1d(6, 2), classes, flat)
    add("ConditionalNorm", lambda: _over(nw.GroupNorm(3, 6, affine=False)), vector, plane)
    add("ConditionalNorm, channels first", lambda: _over(nw.LayerNorm2d(6)), vector, plane)
    add("AdaGroupNorm", lambda: nw.AdaGroupNorm(3, 6, 4), vector, plane)
    add("AdaLayerNorm", lambda: nw.AdaLayerNorm(6, 4), vector, _TOKENS)
    add("AdaLayerNorm, tokens", lambda: nw.AdaLayerNorm(6, 4), vectors, _TOKENS)
    add("AdaLayerNormZero", lambda: nw.AdaLayerNormZero(6, 4), vector, _TOKENS, block=Gated)
    add("FiLM", lambda: nw.FiLM(6, 4), vector, plane, kernels=False)
    add("FiLM, channels last", lambda: nw.FiLM(6, 4, channels_last=True), vector, _TOKENS, kernels=False)
    bare: dict[str, tuple[Make, Callable[[Tensor], Tensor]]] = {
        "EmbeddingModulation": (lambda: nw.EmbeddingModulation(2, 6), classes),
        "LinearModulation": (lambda: nw.LinearModulation(4, 6, activation="gelu"), vector),
        "SpatialModulation": (lambda: nw.SpatialModulation(6, 6, hidden=3), nn.Identity()),
    }
    for name, (make, condition) in bare.items():
        add(name, partial(_alone, make), condition, plane, kernels=False)
    return found


def _compose(block: type[Conditioned], make: Make, condition: Callable[[Tensor], Tensor]) -> nn.Module:
    return block(make(), condition)


def _over(norm: nn.Module) -> nn.Module:
    return nw.ConditionalNorm(norm, nw.LinearModulation(4, 6))


def _alone(make: Make) -> nn.Module:
    return nw.ConditionalNorm(None, make())
