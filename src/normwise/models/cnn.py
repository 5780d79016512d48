"""The convolutional network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from normwise import layers
from normwise.errors import ArgumentError, explain, unknown_name
from normwise.models._sizes import check_sizes
from normwise.models.block import Block
from normwise.models.mlp import dense_block, output_layer
from normwise.models.norm import Norm

_POOLS: dict[str, Callable[[], nn.Module | None]] = {
    "average": lambda: nn.AvgPool2d(2),
    "max": lambda: nn.MaxPool2d(2),
    "none": lambda: None,
}
_REDUCTIONS = ("average", "flatten")


class CNN(nn.Module):
    """Convolutional blocks, a reduction, fully connected blocks and an output layer; made by `cnn`.

    Attributes:
        blocks: the hidden `Block` modules, first to last: the convolutional ones, then the head's.
        depth: how many of them are convolutional.
        pool: what halves the image between convolutional blocks, or None.
        reduce: how an image becomes features: "average" or "flatten".
        output: the last linear layer.
        output_norm: the normalization behind it, or None.
    """

    def __init__(
        self,
        convolutional: Sequence[Block],
        head: Sequence[Block],
        output: nn.Linear,
        output_norm: nn.Module | None,
        *,
        pool: nn.Module | None,
        reduce: str,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([*convolutional, *head])
        self.depth = len(convolutional)
        self.pool = pool
        self.reduce = reduce
        self.output = output
        self.output_norm = output_norm

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_features) for images (N, C, H, W)."""
        pool, depth = self.pool, self.depth
        for index, block in enumerate(self.blocks):
            if index == depth:
                x = self._features(x)
            elif index and pool is not None and index < depth:
                x = pool(x)
            x = block(x)
        if len(self.blocks) == depth:
            x = self._features(x)
        x = self.output(x)
        norm = self.output_norm
        return x if norm is None else norm(x)

    def _features(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3)) if self.reduce == "average" else x.flatten(1)


def cnn(
    in_shape: tuple[int, int, int],
    out_features: int,
    *,
    channels: Sequence[int] = (16, 32),
    head: Sequence[int] = (),
    kernel_size: int = 3,
    activation: str = "relu",
    norm: str = "none",
    position: str = "before",
    dropout: float = 0.0,
    residual: bool = False,
    pool: str = "average",
    reduce: str = "average",
    norm_head: bool = True,
    norm_output: bool = False,
) -> CNN:
    """Build a convolutional network: blocks of convolution, norm, activation, dropout; pooling between them.

    A convolution or linear layer just before a norm that subtracts each channel's mean has no bias, which the norm
    would cancel; all others have one. What lies in weights (weight, spectral, standardized, centred, orthogonal) lies
    in those of all layers but the last. Weights are torch's default draw: see `normwise.initialize`.

    Args:
        in_shape: (C, H, W) of an image.
        out_features: the number of outputs.
        channels: of the convolutional blocks, one at least; padding keeps the image's size.
        head: widths of the fully connected blocks behind them.
        kernel_size: of the convolutions, odd, in pixels.
        activation: relu, leaky_relu, gelu, silu, tanh or sigmoid.
        norm: one of `NORMS` that takes images: none, batch, layer, group, ``group:4``, instance, rms, weight, ….
            Layer and RMS go over the channels of each position; instance has a weight and a bias; ``group`` takes the
            largest number of groups, at most 32, that divides the channels and leaves 8 or more in a group.
            filter_response, evonorm_b0 and evonorm_s0 stand in the place of the activation.
        position: of the norm, "before" or "after" the activation.
        dropout: probability, in training, with which a channel is zeroed in convolutional blocks and an
            activation in the head's.
        residual: add each convolutional block's input before its activation, through a 1 × 1 convolution
            without bias where the number of channels changes.
        pool: between convolutional blocks, 2 × 2: "average", "max" or "none".
        reduce: after them, "average" over the positions or "flatten".
        norm_head: normalize in the head too.
        norm_output: normalize the outputs as well (what lies in weights: the last layer's).

    Returns:
        A `CNN` from (N, C, H, W) to (N, out_features).

    Raises:
        UnknownNameError: an unknown activation, normalization, position, pool or reduction.
        ArgumentError: a size below 1, no channels, an even kernel; channels not divisible by the groups; an
            image too small to pool or for the norm; in a head or on the outputs a norm that needs positions, as
            instance; a norm of rows alone (scale); a dropout outside of 0 to 1.

    Example:
        >>> import torch
        >>> model = cnn((1, 8, 8), 10, channels=(8, 16), norm="layer", residual=True)
        >>> model(torch.rand(5, 1, 8, 8)).shape
        torch.Size([5, 10])
        >>> [type(block.norm).__name__ for block in model.blocks]
        ['LayerNorm2d', 'LayerNorm2d']
    """
    features, height, width = _image_shape(in_shape)
    check_sizes("cnn", "out_features", (out_features,))
    if not check_sizes("cnn", "channels", channels):
        raise ArgumentError(
            explain("cnn", "`channels` must name one block at least", "none", "use mlp instead")
        )
    if check_sizes("cnn", "kernel_size", (kernel_size,))[0] % 2 == 0:
        raise ArgumentError(
            explain("cnn", "`kernel_size` must be odd, to keep the image's size", str(kernel_size))
        )
    if pool not in _POOLS:
        raise unknown_name("cnn", "pool", pool, _POOLS)
    if reduce not in _REDUCTIONS:
        raise unknown_name("cnn", "reduction", reduce, _REDUCTIONS)
    choice = Norm.parse(norm, "cnn")
    convolutional: list[Block] = []
    for after in channels:
        if convolutional and pool != "none":
            height, width = _halved(height, width, len(convolutional))
        bias = not (choice.cancels_bias and position == "before")
        convolution = nn.Conv2d(features, after, kernel_size, padding=kernel_size // 2, bias=bias)
        convolutional.append(
            Block(
                choice.wrap(convolution),
                choice.for_images(after, height, width),
                choice.activation(activation),
                layers.Dropout2d(dropout) if dropout else None,
                # What holds its own activation stands where the activation does: behind the sum.
                position="after" if choice.kind.is_activation else position,
                shortcut=_shortcut(features, after, choice) if residual else None,
            )
        )
        features = after
    if reduce == "flatten":
        features *= height * width
    head_choice = choice if norm_head else Norm.parse("none", "cnn")
    dense: list[Block] = []
    for after in check_sizes("cnn", "head", head):
        dense.append(dense_block(features, after, head_choice, activation, position, dropout))
        features = after
    output, output_norm = output_layer(features, out_features, choice, norm_output)
    return CNN(convolutional, dense, output, output_norm, pool=_POOLS[pool](), reduce=reduce)


def _image_shape(in_shape: Sequence[int]) -> tuple[int, int, int]:
    shape = check_sizes("cnn", "in_shape", in_shape)
    if len(shape) != 3:
        raise ArgumentError(
            explain(
                "cnn", "`in_shape` must be (channels, height, width)", repr(in_shape), "tables go into an mlp"
            )
        )
    return shape[0], shape[1], shape[2]


def _halved(height: int, width: int, blocks: int) -> tuple[int, int]:
    if min(height, width) < 2:
        raise ArgumentError(
            explain(
                "cnn",
                "pooling needs an image of at least 2 × 2 pixels",
                f"{height} × {width} after {blocks} blocks",
                f"use {blocks} blocks at most, or pool='none'",
            )
        )
    return height // 2, width // 2


def _shortcut(before: int, after: int, norm: Norm) -> nn.Module:
    return nn.Identity() if before == after else norm.wrap(nn.Conv2d(before, after, 1, bias=False))
