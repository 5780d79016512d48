"""The four architectures of the collection; what a fault changes lies in an `nn.Sequential` under a name of its kind.

Axes: N samples, C channels (units), T tokens, H and W of an image.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = MappingProxyType(
    {
        "relu": nn.ReLU,
        "leaky_relu": nn.LeakyReLU,
        "elu": nn.ELU,
        "selu": nn.SELU,
        "gelu": nn.GELU,
        "silu": nn.SiLU,
        "mish": nn.Mish,
        "tanh": nn.Tanh,
        "sigmoid": nn.Sigmoid,
    }
)
"""Activations by name."""

_CENTRING = ("batch", "instance")
_POOLED = 2  # halvings of an image: 8×8 → 4×4 → 2×2


class Residual(nn.Module):
    """activation(x + branch(x)); without an activation, x + branch(x)."""

    def __init__(self, branch: nn.Module, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.branch = branch
        self.activation = activation

    def forward(self, input: Tensor) -> Tensor:
        """Any shape that the branch keeps."""
        output: Tensor = input + self.branch(input)
        return output if self.activation is None else self.activation(output)


class Attention(nn.Module):
    """Self-attention of `heads` heads over (N, T, C)."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)

    def forward(self, input: Tensor) -> Tensor:
        """(N, T, C) → (N, T, C)."""
        samples, tokens, width = input.shape
        parts = self.qkv(input).reshape(samples, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        output: Tensor = self.projection(mixed.transpose(1, 2).reshape(samples, tokens, width))
        return output


class Tokens(nn.Module):
    """Tokens (N, T, C) of an image by its rows, of a sequence by its positions, of a table by its columns."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W), (N, C, T) or (N, F) → (N, T, C)."""
        if input.dim() == 4:
            return input.permute(0, 2, 1, 3).flatten(2)
        return input.transpose(1, 2) if input.dim() == 3 else input[:, :, None]


class Positions(nn.Module):
    """Adds a learned vector to each token."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(0.3 * torch.randn(tokens, width))

    def forward(self, input: Tensor) -> Tensor:
        """(N, T, C) → (N, T, C)."""
        return input + self.vectors


class MeanToken(nn.Module):
    """The mean over tokens, (N, T, C) → (N, C)."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, T, C) → (N, C)."""
        return input.mean(dim=1)


class ChannelsFirst(nn.Module):
    """A norm of (N, C, T) on tokens (N, T, C)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, input: Tensor) -> Tensor:
        """(N, T, C) → (N, T, C)."""
        output: Tensor = self.inner(input.transpose(1, 2)).transpose(1, 2)
        return output


def norm_of(kind: str, width: int, architecture: str) -> nn.Module | None:
    """A normalization for the features of an architecture; None for "none"."""
    image, tokens = architecture in ("cnn", "residual"), architecture == "transformer"
    if kind == "none":
        return None
    if kind in ("layer", "rms") and not image:
        return nn.LayerNorm(width) if kind == "layer" else nn.RMSNorm(width, eps=1e-6)
    kinds: dict[str, Callable[[], nn.Module]] = {
        "batch": lambda: nn.BatchNorm2d(width) if image else nn.BatchNorm1d(width),
        "group": lambda: nn.GroupNorm(4, width),
        "layer": lambda: nn.GroupNorm(1, width),
        "instance": lambda: nn.InstanceNorm2d(width, affine=True),
    }
    made = kinds[kind]()
    return ChannelsFirst(made) if tokens else made


def chain(**modules: nn.Module | None) -> nn.Sequential:
    """Modules one behind the other under their names; those that are None are left out.

    >>> list(dict(chain(linear=nn.Linear(1, 2), norm=None, activation=nn.ReLU()).named_children()))
    ['linear', 'activation']
    """
    return nn.Sequential(OrderedDict((name, m) for name, m in modules.items() if m is not None))


def network(
    architecture: str,
    shape: tuple[int, ...],
    outputs: int,
    *,
    depth: int,
    width: int,
    activation: str,
    norm: str,
    dropout: float,
    skip: bool = False,
) -> nn.Sequential:
    """A network for inputs of a shape (without N); its last layer is `head.output`.

    Args:
        architecture: "mlp", "cnn", "residual" or "transformer".
        shape: of one sample.
        outputs: classes, or 1.
        depth: blocks.
        width: units, channels or size of a token.
        activation: of `ACTIVATIONS`.
        norm: "none", "batch", "layer", "group", "instance" (images) or "rms" (not images).
        dropout: before the last layer; in a transformer also in each feed-forward part.
        skip: an mlp of residual blocks.
    """
    options: dict[str, Any] = {"depth": depth, "width": width, "activation": activation, "norm": norm}
    drop = nn.Dropout(dropout) if dropout else None
    if architecture == "mlp":
        blocks = _residual_mlp(shape, **options) if skip else _mlp(shape, **options)
        head = chain(dropout=drop, output=nn.Linear(width, outputs))
    elif architecture == "transformer":
        blocks = _transformer(shape, **options, dropout=dropout)
        last = norm_of(norm, width, architecture)
        head = chain(norm=last, pool=MeanToken(), dropout=drop, output=nn.Linear(width, outputs))
    else:
        blocks = (_cnn if architecture == "cnn" else _residual)(shape, **options)
        pool = {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
        head = chain(**pool, dropout=drop, output=nn.Linear(width, outputs))
    return chain(**blocks, head=head)


def _mlp(
    shape: tuple[int, ...], *, depth: int, width: int, activation: str, norm: str
) -> dict[str, nn.Module]:
    blocks: dict[str, nn.Module] = {"flatten": nn.Flatten()}
    inputs = torch.Size(shape).numel()
    for index in range(depth):
        blocks[f"block{index + 1}"] = chain(
            linear=nn.Linear(inputs if index == 0 else width, width, bias=norm not in _CENTRING),
            norm=norm_of(norm, width, "mlp"),
            activation=ACTIVATIONS[activation](),
        )
    return blocks


def _residual_mlp(
    shape: tuple[int, ...], *, depth: int, width: int, activation: str, norm: str
) -> dict[str, nn.Module]:
    bias = norm not in _CENTRING
    stem = chain(
        linear=nn.Linear(torch.Size(shape).numel(), width, bias=bias),
        norm=norm_of(norm, width, "mlp"),
        activation=ACTIVATIONS[activation](),
    )
    blocks: dict[str, nn.Module] = {"flatten": nn.Flatten(), "stem": stem}
    for index in range(depth - 1):
        branch = chain(
            linear1=nn.Linear(width, width, bias=bias),
            norm1=norm_of(norm, width, "mlp"),
            activation1=ACTIVATIONS[activation](),
            linear2=nn.Linear(width, width, bias=bias),
            norm2=norm_of(norm, width, "mlp"),
        )
        blocks[f"block{index + 1}"] = Residual(branch, ACTIVATIONS[activation]())
    return blocks


def _convolution(inputs: int, width: int, norm: str) -> nn.Conv2d:
    return nn.Conv2d(inputs, width, 3, padding=1, bias=norm not in _CENTRING)


def _cnn(
    shape: tuple[int, ...], *, depth: int, width: int, activation: str, norm: str
) -> dict[str, nn.Module]:
    blocks: dict[str, nn.Module] = {}
    for index in range(depth):
        blocks[f"block{index + 1}"] = chain(
            conv=_convolution(shape[0] if index == 0 else width, width, norm),
            norm=norm_of(norm, width, "cnn"),
            activation=ACTIVATIONS[activation](),
            pool=nn.MaxPool2d(2) if index < _POOLED else None,
        )
    return blocks


def _residual(
    shape: tuple[int, ...], *, depth: int, width: int, activation: str, norm: str
) -> dict[str, nn.Module]:
    stem = chain(
        conv=_convolution(shape[0], width, norm),
        norm=norm_of(norm, width, "residual"),
        activation=ACTIVATIONS[activation](),
    )
    blocks: dict[str, nn.Module] = {"stem": stem}
    for index in range(depth - 1):
        if index < _POOLED:
            blocks[f"pool{index + 1}"] = nn.AvgPool2d(2)
        branch = chain(
            conv1=_convolution(width, width, norm),
            norm1=norm_of(norm, width, "residual"),
            activation1=ACTIVATIONS[activation](),
            conv2=_convolution(width, width, norm),
            norm2=norm_of(norm, width, "residual"),
        )
        blocks[f"block{index + 1}"] = Residual(branch, ACTIVATIONS[activation]())
    return blocks


def _transformer(
    shape: tuple[int, ...], *, depth: int, width: int, activation: str, norm: str, dropout: float
) -> dict[str, nn.Module]:
    tokens, features = Tokens()(torch.zeros(1, *shape)).shape[1:]
    blocks: dict[str, nn.Module] = {
        "tokens": Tokens(),
        "embed": nn.Linear(features, width),
        "positions": Positions(tokens, width),
    }
    for index in range(depth):
        attention = chain(norm=norm_of(norm, width, "transformer"), attention=Attention(width))
        forward = chain(
            norm=norm_of(norm, width, "transformer"),
            linear1=nn.Linear(width, 2 * width),
            activation=ACTIVATIONS[activation](),
            dropout=nn.Dropout(dropout) if dropout else None,
            linear2=nn.Linear(2 * width, width),
        )
        blocks[f"block{index + 1}"] = chain(attention=Residual(attention), feedforward=Residual(forward))
    return blocks
