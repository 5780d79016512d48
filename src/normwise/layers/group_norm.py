"""Group normalization: torch's class over normwise's operation."""

from __future__ import annotations

from torch import Tensor, nn

from normwise import functional


class GroupNorm(nn.GroupNorm):
    """Group normalization of (N, C, *); equal to `torch.nn.GroupNorm`.

    ``y = (x − μ) / sqrt(σ² + eps) · weight + bias`` per sample and group of channels, with the biased variance.
    Arguments, defaults, state_dict keys and error types are torch's.

    Raises:
        ValueError: `num_channels` is not divisible by `num_groups`.

    Source: Wu & He 2018.

    >>> import torch
    >>> layer = GroupNorm(2, 4)
    >>> layer(torch.tensor([[1.0, 3.0, 10.0, 30.0]])).round(decimals=3).tolist()
    [[-1.0, 1.0, -1.0, 1.0]]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalize the input."""
        return functional.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)
