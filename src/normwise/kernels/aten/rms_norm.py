"""Root mean square normalization over the channels of channels-first input."""

from __future__ import annotations

import torch
from torch import Tensor


def rms_norm_over_channels(input: Tensor, weight: Tensor | None, eps: float | None) -> Tensor:
    """Scale axis 1 of (N, C, *); see `normwise.functional.rms_norm_over_channels`.

    `torch.rms_norm` is a composition on the CPU; its formula along axis 1 needs no transposition and keeps
    the layout.
    """
    wide = input if input.dtype == torch.float64 else input.float()
    if eps is None:
        eps = torch.finfo(wide.dtype).eps
    output = wide * torch.rsqrt(wide.square().mean(1, keepdim=True) + eps)
    if weight is not None:
        output = output * weight.reshape(-1, *(1,) * (input.dim() - 2))
    return output.to(input.dtype)
