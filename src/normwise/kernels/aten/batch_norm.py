"""Batch normalization through `torch.batch_norm`."""

from __future__ import annotations

import torch
from torch import Tensor


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float | Tensor,
    eps: float,
) -> Tensor:
    """Normalize by the batch's statistics or the running ones; see `normwise.functional.batch_norm`."""
    cudnn = torch.backends.cudnn.enabled
    if not isinstance(momentum, Tensor):
        return torch.batch_norm(
            input, weight, bias, running_mean, running_var, training, momentum, eps, cudnn
        )
    if not training or running_mean is None or running_var is None:
        return torch.batch_norm(input, weight, bias, running_mean, running_var, training, 0.0, eps, cudnn)
    # torch.batch_norm takes its momentum as a Python number: reading one from a tensor would synchronise with
    # the device and break a compiled graph. With momentum 1 it leaves the batch's own statistics in copies
    # instead. An empty batch leaves the copies as they are, and then the interpolation changes nothing.
    mean, var = running_mean.clone(), running_var.clone()
    output = torch.batch_norm(input, weight, bias, mean, var, True, 1.0, eps, cudnn)
    running_mean.lerp_(mean, momentum.to(mean.dtype))
    running_var.lerp_(var, momentum.to(var.dtype))
    return output
