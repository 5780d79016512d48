"""Conditional batch normalization: a scale and a shift of each class."""

from __future__ import annotations

from torch import nn

from normwise.layers._state import Device, DType
from normwise.layers.batch_norm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from normwise.layers.conditional_norm import ConditionalNorm
from normwise.layers.modulation import EmbeddingModulation


class _ConditionalBatchNorm(ConditionalNorm):
    """The three classes; each names its normalization."""

    normalization: type[nn.Module]

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        track_running_stats: bool = True,
        device: Device = None,
        dtype: DType = None,
    ) -> None:
        norm = self.normalization(num_features, eps, momentum, False, track_running_stats, device, dtype)
        super().__init__(norm, EmbeddingModulation(num_classes, num_features, 2, device, dtype))


class ConditionalBatchNorm1d(_ConditionalBatchNorm):
    """Batch normalization of (N, C) or (N, C, L) with a scale and a shift of each class: ``layer(input, classes)``.

    ``y = (x − μ) / sqrt(σ² + eps) · (1 + γ[c]) + β[c]``. Statistics are those of the whole batch, of all classes; γ
    and β start at zero. For the same with statistics of each sample take `ConditionalNorm` over an `InstanceNorm2d`.

    Args:
        num_features: C.
        num_classes: the condition is (N,), integers below it.
        eps: added to the variance, under the root.
        momentum: weight of the new batch in the running statistics.
        track_running_stats: keep running statistics and use them in evaluation.
        device: of parameters and buffers.
        dtype: of parameters and buffers.

    Raises:
        ValueError: the batch of the condition is another, or what `BatchNorm1d` refuses.

    Source: de Vries et al. 2017; with classes, Miyato & Koyama 2018. A condition of vectors, as the former have, is
    ``ConditionalNorm(BatchNorm2d(C, affine=False), LinearModulation(E, C))``.

    >>> import torch
    >>> layer = ConditionalBatchNorm1d(1, num_classes=10)
    >>> layer(torch.tensor([[1.0], [3.0]]), torch.tensor([0, 9])).detach().round(decimals=3).flatten()
    tensor([-1.,  1.])
    """

    normalization = BatchNorm1d


class ConditionalBatchNorm2d(_ConditionalBatchNorm):
    """Batch normalization of (N, C, H, W) with a scale and a shift of each class; see `ConditionalBatchNorm1d`.

    >>> import torch
    >>> ConditionalBatchNorm2d(3, 10)(torch.randn(2, 3, 4, 4), torch.tensor([0, 9])).shape
    torch.Size([2, 3, 4, 4])
    """

    normalization = BatchNorm2d


class ConditionalBatchNorm3d(_ConditionalBatchNorm):
    """Batch normalization of (N, C, D, H, W) with a scale and a shift of each class; see `ConditionalBatchNorm1d`.

    >>> import torch
    >>> ConditionalBatchNorm3d(3, 10)(torch.randn(2, 3, 2, 4, 4), torch.tensor([0, 9])).shape
    torch.Size([2, 3, 2, 4, 4])
    """

    normalization = BatchNorm3d
