"""The operations that can be timed: normwise's layer and what one uses in torch instead, for any shape.

Index convention: C is axis 1 of the shape, L (the last axis) what a norm over features goes over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from torch import nn

from normwise import layers
from normwise.bench.rivals import (
    AddReLU,
    OverChannels,
    OverChannelsWrittenOut,
    PenaltyOf,
    SumOfPenalties,
    Weights,
)
from normwise.errors import ArgumentError, explain, unknown_name
from normwise.regularizers import L1, L2

Shape = tuple[int, ...]
RATE = 0.5
STRENGTH = 1e-4
MOST_GROUPS = 32


@dataclass(frozen=True)
class Op:
    """One operation.

    Attributes:
        name: as it is asked for.
        title: in words.
        axes: the numbers of axes that its input may have.
        ours, eager: build the two sides for a shape.
        forward, backward: tensors of the input's size that a pass reads or writes at least; 0 where the time is not
            that of moving tensors.
        residual: whether a second tensor of the same shape goes in.
        inputs: False for a penalty, whose shape is that of its weights: (count, rows, columns).
    """

    name: str
    title: str
    axes: tuple[int, ...]
    ours: Callable[[Shape], nn.Module]
    eager: Callable[[Shape], nn.Module]
    forward: int = 2
    backward: int = 3
    residual: bool = False
    inputs: bool = True

    def check(self, shape: Shape) -> None:
        """Refuse a shape that the operation cannot take.

        Raises:
            ArgumentError: another number of axes, or an axis of no length.
        """
        if len(shape) not in self.axes or min(shape) < 1:
            axes = f"{self.axes[0]} to {self.axes[-1]}" if len(self.axes) > 1 else f"{self.axes[0]}"
            raise ArgumentError(
                explain(
                    f"bench {self.name}",
                    f"the shape must have {axes} axes, each at least 1",
                    "×".join(map(str, shape)) or "none",
                    "write it as 32x64x56x56",
                )
            )


def groups_of(channels: int) -> int:
    """Return the largest number of groups, 32 at most, that divides the channels.

    >>> groups_of(64), groups_of(48), groups_of(7)
    (32, 24, 7)
    """
    return max(g for g in range(1, MOST_GROUPS + 1) if channels % g == 0)


def _ranked(home: ModuleType, family: str, shape: Shape) -> Any:
    """The class of a family for the number of axes: BatchNorm2d for (N, C, H, W)."""
    return getattr(home, f"{family}{max(1, len(shape) - 2)}d")


def _norm(family: str) -> tuple[Callable[[Shape], nn.Module], Callable[[Shape], nn.Module]]:
    return (
        lambda shape: _ranked(layers, family, shape)(shape[1]),
        lambda shape: _ranked(nn, family, shape)(shape[1]),
    )


def _fused(
    family: str, dropout: float = 0.0
) -> tuple[Callable[[Shape], nn.Module], Callable[[Shape], nn.Module]]:
    def eager(shape: Shape) -> nn.Module:
        parts = [_ranked(nn, family, shape)(shape[1]), nn.ReLU()]
        return nn.Sequential(*parts, *([nn.Dropout(dropout)] if dropout else []))

    def ours(shape: Shape) -> nn.Module:
        layer: nn.Module = _ranked(layers, f"{family}Act", shape)(
            shape[1], activation="relu", dropout=dropout
        )
        return layer

    return ours, eager


def _over_channels(family: str) -> tuple[Callable[[Shape], nn.Module], Callable[[Shape], nn.Module]]:
    return (
        lambda shape: _ranked(layers, family, shape)(shape[1]),
        lambda shape: OverChannels(getattr(nn, family)(shape[1])),
    )


def _penalty(
    penalty: type[L1] | type[L2],
) -> tuple[Callable[[Shape], nn.Module], Callable[[Shape], nn.Module]]:
    def weights(shape: Shape) -> nn.Module:
        count, rows, columns = shape
        return Weights(count, rows, columns)

    return (
        lambda shape: PenaltyOf(weights(shape), penalty(STRENGTH)),
        lambda shape: SumOfPenalties(weights(shape), STRENGTH, squares=penalty is L2),
    )


_ANY = (2, 3, 4, 5)
_IMAGES = (3, 4, 5)

OPS: dict[str, Op] = {
    op.name: op
    for op in (
        Op("batch_norm", "Batch normalization", _ANY, *_norm("BatchNorm")),
        Op("batch_norm_relu", "Batch normalization → ReLU", _ANY, *_fused("BatchNorm")),
        Op(
            "batch_norm_add_relu",
            "Batch normalization + residual → ReLU",
            _ANY,
            lambda shape: _ranked(layers, "BatchNormAct", shape)(shape[1], activation="relu"),
            lambda shape: AddReLU(_ranked(nn, "BatchNorm", shape)(shape[1])),
            forward=3,
            backward=4,
            residual=True,
        ),
        Op(
            "batch_norm_relu_dropout",
            "Batch normalization → ReLU → dropout",
            _ANY,
            *_fused("BatchNorm", RATE),
        ),
        Op(
            "group_norm",
            "Group normalization",
            _ANY,
            lambda shape: layers.GroupNorm(groups_of(shape[1]), shape[1]),
            lambda shape: nn.GroupNorm(groups_of(shape[1]), shape[1]),
        ),
        Op(
            "group_norm_relu",
            "Group normalization → ReLU",
            _ANY,
            lambda shape: layers.GroupNormAct(groups_of(shape[1]), shape[1], activation="relu"),
            lambda shape: nn.Sequential(nn.GroupNorm(groups_of(shape[1]), shape[1]), nn.ReLU()),
        ),
        Op("instance_norm", "Instance normalization", _IMAGES, *_norm("InstanceNorm")),
        Op("instance_norm_relu", "Instance normalization → ReLU", _IMAGES, *_fused("InstanceNorm")),
        Op(
            "layer_norm",
            "Layer normalization",
            _ANY,
            lambda shape: layers.LayerNorm(shape[-1]),
            lambda shape: nn.LayerNorm(shape[-1]),
        ),
        Op(
            "layer_norm_relu",
            "Layer normalization → ReLU",
            _ANY,
            lambda shape: layers.LayerNormAct(shape[-1], activation="relu"),
            lambda shape: nn.Sequential(nn.LayerNorm(shape[-1]), nn.ReLU()),
        ),
        Op("layer_norm_channels", "Layer normalization over channels", _IMAGES, *_over_channels("LayerNorm")),
        Op(
            "layer_norm_channels_formula",
            "Layer normalization over channels (rivals: its formula)",
            _IMAGES,
            _over_channels("LayerNorm")[0],
            lambda shape: OverChannelsWrittenOut(shape[1]),
        ),
        Op(
            "rms_norm",
            "RMS normalization",
            _ANY,
            lambda shape: layers.RMSNorm(shape[-1]),
            lambda shape: nn.RMSNorm(shape[-1]),
        ),
        Op(
            "rms_norm_relu",
            "RMS normalization → ReLU",
            _ANY,
            lambda shape: layers.RMSNormAct(shape[-1], activation="relu"),
            lambda shape: nn.Sequential(nn.RMSNorm(shape[-1]), nn.ReLU()),
        ),
        Op("rms_norm_channels", "RMS normalization over channels", _IMAGES, *_over_channels("RMSNorm")),
        Op(
            "dropout",
            "Dropout",
            (1, *_ANY),
            lambda shape: layers.Dropout(RATE),
            lambda shape: nn.Dropout(RATE),
            backward=2,
        ),
        Op(
            "weight_norm",
            "Linear layer under weight normalization",
            (2,),
            lambda shape: layers.weight_norm(layers.Linear(shape[1], shape[1])),
            lambda shape: nn.utils.parametrizations.weight_norm(nn.Linear(shape[1], shape[1])),
            forward=0,
            backward=0,
        ),
        Op("l1_penalty", "L1 penalty", (3,), *_penalty(L1), forward=1, backward=2, inputs=False),
        Op("l2_penalty", "L2 penalty", (3,), *_penalty(L2), forward=1, backward=2, inputs=False),
    )
}


def find_op(name: str) -> Op:
    """Return an operation by its name.

    Raises:
        UnknownNameError: there is none of this name.
    """
    if name not in OPS:
        raise unknown_name("bench", "operation", name, OPS)
    return OPS[name]
