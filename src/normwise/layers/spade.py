"""Spatially adaptive normalization: a scale and a shift of each position, from a map of labels."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from normwise.layers._state import Device, DType
from normwise.layers.batch_norm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from normwise.layers.conditional_norm import ConditionalNorm
from normwise.layers.modulation import SpatialModulation


class _SPADE(ConditionalNorm):
    """The three classes; each names its normalization and its rank."""

    normalization: type[nn.Module]
    rank: ClassVar[int]

    def __init__(
        self,
        num_features: int,
        num_labels: int,
        hidden: int = 128,
        kernel_size: int = 3,
        norm: nn.Module | None = None,
        device: Device = None,
        dtype: DType = None,
    ) -> None:
        if norm is None:
            norm = self.normalization(num_features, affine=False, device=device, dtype=dtype)
        modulation = SpatialModulation(
            num_labels, num_features, 2, hidden, kernel_size, self.rank, device=device, dtype=dtype
        )
        super().__init__(norm, modulation)

    def prepared(self, input: Tensor, condition: Tensor) -> Tensor:
        """The map at the input's positions: at i of n, that at ⌊i · m / n⌋ of its m, as the authors have it."""
        places = tuple(input.shape[2:])
        resizable = condition.dim() == input.dim() and condition.is_floating_point()
        if not resizable or tuple(condition.shape[2:]) == places:
            return condition
        return nn.functional.interpolate(condition, size=places, mode="nearest")


class SPADE1d(_SPADE):
    """Normalization of (N, C, L) with a scale and a shift of each position from a map: ``layer(input, labels)``.

    ``y = norm(x) · (1 + γ(m)) + β(m)``, with γ and β from two convolutions over the map m (`SpatialModulation`),
    which is brought to the input's positions by taking the nearest one. They start at zero, and the layer as `norm`.

    Args:
        num_features: C.
        num_labels: K; the condition is a map (N, K, *) of any positions, classes one-hot.
        hidden: channels between the convolutions.
        kernel_size: of both, an odd number.
        norm: the normalization, without an affine map; None is batch normalization, as the authors have it (on
            several devices `SyncBatchNorm`).
        device: of parameters and buffers.
        dtype: of parameters and buffers.

    Raises:
        ValueError: batch, channels or axes of the map do not fit, an even kernel, or what the norm refuses.

    Source: Park, Liu, Wang & Zhu 2019, equations 1 and 2; there the last convolutions do not start at zero.

    >>> import torch
    >>> SPADE1d(3, 5)(torch.randn(2, 3, 8), torch.randn(2, 5, 16)).shape
    torch.Size([2, 3, 8])
    """

    normalization = BatchNorm1d
    rank = 1


class SPADE2d(_SPADE):
    """Normalization of (N, C, H, W) with a scale and a shift of each position from a map; see `SPADE1d`.

    >>> import torch
    >>> labels = torch.nn.functional.one_hot(torch.randint(5, (2, 8, 8)), 5).movedim(-1, 1).float()
    >>> SPADE2d(3, 5)(torch.randn(2, 3, 4, 4), labels).shape
    torch.Size([2, 3, 4, 4])
    """

    normalization = BatchNorm2d
    rank = 2


class SPADE3d(_SPADE):
    """Normalization of (N, C, D, H, W) with a scale and a shift of each position from a map; see `SPADE1d`.

    >>> import torch
    >>> SPADE3d(3, 5, hidden=8)(torch.randn(2, 3, 2, 4, 4), torch.randn(2, 5, 2, 4, 4)).shape
    torch.Size([2, 3, 2, 4, 4])
    """

    normalization = BatchNorm3d
    rank = 3
