"""Instance normalization as group normalization with one channel a group."""

from __future__ import annotations

import torch
from torch import Tensor


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """Normalize by each instance's statistics or the running ones; see `normwise.functional.instance_norm`.

    `torch.instance_norm` folds samples into channels, which copies a channels_last input into a contiguous
    one and answers in that layout. Group normalization with as many groups as channels is the same map and
    keeps the layout.
    """
    cudnn = torch.backends.cudnn.enabled
    if not use_input_stats:
        return torch.batch_norm(input, weight, bias, running_mean, running_var, False, momentum, eps, cudnn)
    if input.numel() == 0:
        # Nothing to average, and group normalization refuses an input without channels.
        return torch.batch_norm(input, weight, bias, None, None, True, 0.0, eps, cudnn)
    if running_mean is not None and running_var is not None:
        _track(input.detach(), running_mean, running_var, momentum)
    return torch.group_norm(input, input.shape[1], weight, bias, eps, cudnn)


@torch.no_grad()
def _track(input: Tensor, running_mean: Tensor, running_var: Tensor, momentum: float) -> None:
    # From the input, not from group_norm's 1 / sqrt(var + eps): recovering a variance far below eps cancels.
    wide = input if input.dtype == torch.float64 else input.float()
    var, mean = torch.var_mean(wide, dim=tuple(range(2, input.dim())), correction=1)
    running_mean.lerp_(mean.mean(0).to(running_mean.dtype), momentum)
    running_var.lerp_(var.mean(0).to(running_var.dtype), momentum)
