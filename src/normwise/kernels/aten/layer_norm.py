"""Layer normalization over the channels of channels-first input, through `torch.layer_norm`."""

from __future__ import annotations

import torch
from torch import Tensor


def layer_norm_over_channels(input: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Normalize axis 1 of (N, C, *); see `normwise.functional.layer_norm_over_channels`."""
    last = input.movedim(1, -1)
    output = torch.layer_norm(last, (input.shape[1],), weight, bias, eps)
    # The operator answers with channels last in memory; a contiguous input gets a contiguous output.
    output = output.movedim(-1, 1)
    return output.contiguous() if input.is_contiguous() else output
