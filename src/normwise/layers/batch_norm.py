"""Batch normalization: torch's classes over normwise's operation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from normwise import functional


def batch_norm_of(layer: Any, input: Tensor) -> Tensor:
    """Normalize by the state of a layer that has the attributes of torch's, fused or not.

    Batch statistics are used in training, and in evaluation where there are no running ones; the running ones
    move in training if they are tracked, by `momentum`, or so that all batches count alike where that is
    None.
    """
    training, mean, var = layer.training, layer.running_mean, layer.running_var
    momentum: float | Tensor | None = layer.momentum
    if not training:
        training = mean is None and var is None
    elif not layer.track_running_stats:
        mean = var = None
    elif layer.num_batches_tracked is not None:
        layer.num_batches_tracked.add_(1)
        if momentum is None:
            wide = torch.float64 if mean is None else torch.promote_types(mean.dtype, torch.float32)
            momentum = layer.num_batches_tracked.to(wide).reciprocal()
    momentum = 0.0 if momentum is None else momentum
    return functional.batch_norm(input, mean, var, layer.weight, layer.bias, training, momentum, layer.eps)


class _BatchNormForward(_BatchNorm):
    """The forward pass of the three classes; state and check of dimensions are those of torch's class."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalize the input."""
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        return batch_norm_of(self, input)


class BatchNorm1d(_BatchNormForward, nn.BatchNorm1d):
    """Batch normalization of (N, C) or (N, C, L); equal to `torch.nn.BatchNorm1d`.

    ``y = (x − μ) / sqrt(σ² + eps) · weight + bias`` per channel, with the biased variance; the running
    variance is unbiased. Arguments, defaults, state_dict keys and error types are torch's. Unlike torch's,
    ``momentum=None`` works under `torch.compile`.

    Raises:
        ValueError: another number of axes, or one value per channel in training.

    Source: Ioffe & Szegedy 2015.

    >>> import torch
    >>> BatchNorm1d(1)(torch.tensor([[1.0], [3.0]])).detach().round(decimals=3).flatten()
    tensor([-1.,  1.])
    """


class BatchNorm2d(_BatchNormForward, nn.BatchNorm2d):
    """Batch normalization of (N, C, H, W); equal to `torch.nn.BatchNorm2d`, see `BatchNorm1d`.

    >>> import torch
    >>> BatchNorm2d(3)(torch.randn(2, 3, 4, 4)).shape
    torch.Size([2, 3, 4, 4])
    """


class BatchNorm3d(_BatchNormForward, nn.BatchNorm3d):
    """Batch normalization of (N, C, D, H, W); equal to `torch.nn.BatchNorm3d`, see `BatchNorm1d`.

    >>> import torch
    >>> BatchNorm3d(3)(torch.randn(2, 3, 2, 4, 4)).shape
    torch.Size([2, 3, 2, 4, 4])
    """
