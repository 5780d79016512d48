"""The multilayer perceptron."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from torch import Tensor, nn

from normwise import layers
from normwise.models._sizes import check_sizes
from normwise.models.block import Block
from normwise.models.norm import Norm


class MLP(nn.Module):
    """Hidden blocks and an output layer; made by `mlp`.

    Attributes:
        blocks: the hidden `Block` modules, first to last.
        output: the last linear layer.
        output_norm: the normalization behind it, or None.
    """

    def __init__(self, blocks: Sequence[Block], output: nn.Linear, output_norm: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.output = output
        self.output_norm = output_norm

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_features) for (N, *), of which all but the first dimension are flattened."""
        x = x.flatten(1)
        for block in self.blocks:
            x = block(x)
        x = self.output(x)
        norm = self.output_norm
        return x if norm is None else norm(x)


def mlp(
    in_features: int | tuple[int, ...],
    out_features: int,
    *,
    widths: Sequence[int] = (64, 64, 64),
    activation: str = "relu",
    norm: str = "none",
    position: str = "before",
    dropout: float = 0.0,
    norm_output: bool = False,
) -> MLP:
    """Build a multilayer perceptron: blocks of linear layer, norm, activation, dropout; then a linear layer.

    A linear layer just before a norm that subtracts the batch's mean has no bias, which the norm would cancel; all
    others have one. What lies in weights (weight, spectral, standardized, centred, orthogonal) lies in those of the
    hidden layers. Weights are torch's default draw: see `normwise.initialize`.

    Args:
        in_features: the number of inputs, or their shape without the batch; inputs are flattened.
        out_features: the number of outputs.
        widths: of the hidden layers; () gives a linear model.
        activation: relu, leaky_relu, gelu, silu, tanh or sigmoid.
        norm: one of `NORMS` that takes features: none, batch, layer, group, ``group:4``, rms, weight, ….
            ``group`` takes the largest number of groups, at most 32, that divides the width and leaves 8 or more in
            a group.
        position: of the norm, "before" or "after" the activation.
        dropout: probability with which each activation is zeroed in training.
        norm_output: normalize the outputs as well (what lies in weights: the last layer's).

    Returns:
        An `MLP` from (N, *in_features) to (N, out_features).

    Raises:
        UnknownNameError: an unknown activation, normalization or position.
        ArgumentError: a size below 1; a width not divisible by the groups; a normalization that needs
            positions, as instance; a dropout outside of 0 to 1.

    Example:
        >>> import torch
        >>> model = mlp((1, 8, 8), 10, norm="batch")
        >>> model(torch.rand(5, 1, 8, 8)).shape
        torch.Size([5, 10])
        >>> [block.norm.num_features for block in model.blocks]
        [64, 64, 64]
    """
    shape = check_sizes("mlp", "in_features", (in_features,) if isinstance(in_features, int) else in_features)
    check_sizes("mlp", "out_features", (out_features,))
    choice = Norm.parse(norm, "mlp")
    sizes = (math.prod(shape), *check_sizes("mlp", "widths", widths))
    blocks = [
        dense_block(before, after, choice, activation, position, dropout)
        for before, after in itertools.pairwise(sizes)
    ]
    return MLP(blocks, *output_layer(sizes[-1], out_features, choice, norm_output))


def dense_block(before: int, after: int, norm: Norm, activation: str, position: str, dropout: float) -> Block:
    """Return a fully connected block from `before` to `after` features."""
    bias = not (norm.cancels_bias and position == "before")
    return Block(
        norm.wrap(nn.Linear(before, after, bias=bias)),
        norm.for_features(after),
        norm.activation(activation),
        layers.Dropout(dropout) if dropout else None,
        position=position,
    )


def output_layer(before: int, after: int, norm: Norm, normalized: bool) -> tuple[nn.Linear, nn.Module | None]:
    """Return the last linear layer and what normalizes its outputs, if anything."""
    if not normalized:
        return nn.Linear(before, after), None
    linear = nn.Linear(before, after, bias=not norm.cancels_bias)
    norm.wrap(linear)
    return linear, norm.for_features(after)
