"""Batch normalization: torch's classes over normwise's operation."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from normwise import functional
from normwise.layers._trace import as_leaf, is_traced


def batch_norm_of(layer: Any, input: Tensor, **after: Any) -> Tensor:
    """Normalize by the state of a layer that has the attributes of torch's, fused or not.

    Batch statistics are used in training, and in evaluation where there are no running ones; the running ones
    move in training if they are tracked, by `momentum`, or so that all batches count alike where that is
    None.
    """
    # A module finds its tensors by `__getattr__`, last of all: five times, that is a tenth of a small call.
    learned, buffers = layer._parameters, layer._buffers
    training = layer.training
    mean = _held(layer, buffers, "running_mean")
    var = _held(layer, buffers, "running_var")
    batches = None
    if not training:
        training = mean is None and var is None
    elif not layer.track_running_stats:
        mean = var = None
    else:
        batches = _held(layer, buffers, "num_batches_tracked")
    return functional.batch_norm(
        input,
        mean,
        var,
        _held(layer, learned, "weight"),
        _held(layer, learned, "bias"),
        training,
        layer.momentum,
        layer.eps,
        num_batches_tracked=batches,
        **after,
    )


def _held(layer: Any, tensors: dict[str, Any], name: str) -> Tensor | None:
    """A module's tensor from where it is held; a parametrization, or who set a plain tensor, has moved it elsewhere."""
    found: Tensor | None = tensors[name] if name in tensors else getattr(layer, name)
    return found


class _BatchNormForward(_BatchNorm):
    """The forward pass of the three classes; state and check of dimensions are those of torch's class."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalize the input."""
        if is_traced(input):
            output: Tensor = as_leaf(self, input)
            return output
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
