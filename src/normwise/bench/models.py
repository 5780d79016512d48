"""The networks whose training steps are timed: in torch, and in normwise's layers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from normwise import layers

CLASSES = 10


def eager_mlp(sizes: tuple[int, ...], dropout: float) -> nn.Module:
    """Linear, BN, ReLU and dropout for every hidden layer, then the output layer, in torch's modules."""
    parts: list[nn.Module] = []
    for inner, outer in pairwise(sizes[:-1]):
        parts += [nn.Linear(inner, outer), nn.BatchNorm1d(outer), nn.ReLU()]
        parts += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*parts, nn.Linear(sizes[-2], sizes[-1]))


def fused_mlp(sizes: tuple[int, ...], dropout: float) -> nn.Module:
    """The same in normwise's layers, one for BN, ReLU and dropout."""
    parts: list[nn.Module] = []
    for inner, outer in pairwise(sizes[:-1]):
        norm = layers.BatchNormAct1d(outer, activation="relu", dropout=dropout)
        parts += [layers.Linear(inner, outer), norm]
    return nn.Sequential(*parts, layers.Linear(sizes[-2], sizes[-1]))


class _EagerBlock(nn.Module):
    """Two 3 × 3 convolutions with BN and a shortcut, which is a 1 × 1 convolution where the shape changes."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outer)
        self.short = _shortcut(inner, outer, stride)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm1(self.conv1(x)))
        out: Tensor = self.act(self.norm2(self.conv2(y)) + self.short(x))
        return out


class _FusedBlock(nn.Module):
    """The same with the fused layers."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.norm1 = layers.BatchNormAct2d(outer, activation="relu")
        self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.norm2 = layers.BatchNormAct2d(outer, activation="relu")
        self.short = _shortcut(inner, outer, stride)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm2(self.conv2(self.norm1(self.conv1(x))), self.short(x))
        return y


def _shortcut(inner: int, outer: int, stride: int) -> nn.Module:
    if inner == outer and stride == 1:
        return nn.Identity()
    return nn.Conv2d(inner, outer, 1, stride, bias=False)


def eager_cnn(channels: tuple[int, ...]) -> nn.Module:
    """A stem and one residual block for every number of channels, the image halved between them, in torch's modules."""
    stem = [nn.Conv2d(3, channels[0], 3, 1, 1, bias=False), nn.BatchNorm2d(channels[0]), nn.ReLU()]
    return nn.Sequential(*stem, *_blocks(_EagerBlock, channels), *_head(nn.Linear, channels))


def fused_cnn(channels: tuple[int, ...]) -> nn.Module:
    """The same with the fused layers."""
    norm = layers.BatchNormAct2d(channels[0], activation="relu")
    stem = [nn.Conv2d(3, channels[0], 3, 1, 1, bias=False), norm]
    return nn.Sequential(*stem, *_blocks(_FusedBlock, channels), *_head(layers.Linear, channels))


def _blocks(block: Callable[[int, int, int], nn.Module], channels: tuple[int, ...]) -> list[nn.Module]:
    inner = (channels[0], *channels[:-1])
    return [block(i, o, 1 if k == 0 else 2) for k, (i, o) in enumerate(zip(inner, channels, strict=True))]


def _head(linear: type[nn.Linear], channels: tuple[int, ...]) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear(channels[-1], CLASSES)]


def copy_state(source: nn.Module, target: nn.Module) -> None:
    """Copy parameters and buffers in order: the names differ, where a fused layer takes the place of several."""
    with torch.no_grad():
        for theirs, ours in zip(source.state_dict().values(), target.state_dict().values(), strict=True):
            ours.copy_(theirs)


def without_layers(model: nn.Module) -> nn.Module:
    """A copy of a network of torch's without normalizations, activations and dropouts, its linear layers normwise's."""
    model = copy.deepcopy(model)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d | nn.ReLU | nn.Dropout):
                setattr(module, name, nn.Identity())
            elif isinstance(child, nn.Linear):
                linear = layers.Linear(child.in_features, child.out_features)
                linear.load_state_dict(child.state_dict())
                setattr(module, name, linear)
    return model


@dataclass(frozen=True)
class Network:
    """One network with the shape of its batch."""

    name: str
    title: str
    shape: tuple[int, ...]
    ours: Callable[[], nn.Module]
    eager: Callable[[], nn.Module]
    layout: str = "contiguous"


def _mlp(name: str, words: str, batch: int, sizes: tuple[int, ...], dropout: float) -> Network:
    title = f"MLP {words}, batch {batch}, BN and ReLU" + (f", dropout {dropout:g}" if dropout else "")
    return Network(
        name, title, (batch, sizes[0]), lambda: fused_mlp(sizes, dropout), lambda: eager_mlp(sizes, dropout)
    )


_WIDE, _TINY = (784, 512, 512, 512, CLASSES), (64, 64, 64, CLASSES)
_CHANNELS = (32, 64, 128)

NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        _mlp("mlp_256_dropout", "784-512³-10", 256, _WIDE, 0.5),
        _mlp("mlp_4096_dropout", "784-512³-10", 4096, _WIDE, 0.5),
        _mlp("mlp_tiny_dropout", "64-64-64-10", 128, _TINY, 0.5),
        _mlp("mlp_256", "784-512³-10", 256, _WIDE, 0.0),
        _mlp("mlp_4096", "784-512³-10", 4096, _WIDE, 0.0),
        _mlp("mlp_tiny", "64-64-64-10", 128, _TINY, 0.0),
        Network(
            "cnn",
            "residual CNN 32-64-128, batch 128 of 3×32×32",
            (128, 3, 32, 32),
            lambda: fused_cnn(_CHANNELS),
            lambda: eager_cnn(_CHANNELS),
            "channels_last",
        ),
    )
}
