"""Global response normalization, channels first or last."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from normwise import functional
from normwise.layers._state import Device, DType, Ranked


class _GlobalResponseNorm(Ranked):
    """State and operation of the three classes; each names the rank that it takes."""

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        num_channels: int,
        eps: float = 1e-6,
        channels_last: bool = False,
        device: Device = None,
        dtype: DType = None,
    ) -> None:
        super().__init__()
        self.num_channels = num_channels
        self.eps = eps
        self.channels_last = channels_last
        self.weight = nn.Parameter(torch.zeros(num_channels, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(num_channels, device=device, dtype=dtype))

    def reset_parameters(self) -> None:
        """Set weight and bias to zero: the layer is the identity."""
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def normalize(self, input: Tensor, **after: Any) -> Tensor:
        """Normalize the input."""
        self.check_rank(input)
        return functional.global_response_norm(
            input, self.weight, self.bias, self.eps, channels_last=self.channels_last
        )

    def describe(self) -> str:
        """The arguments, as torch writes them."""
        return f"{self.num_channels}, eps={self.eps}, channels_last={self.channels_last}"


class GlobalResponseNorm1d(_GlobalResponseNorm):
    """Global response normalization of (N, C, L), or of (N, L, C) with `channels_last`.

    ``y = x + weight · x · g / (mean(g) + eps) + bias``, with ``g = ‖x‖₂`` over the positions of a channel of a
    sample, and the mean over the channels. Weight and bias start at zero, so that the layer starts as the identity.
    State_dict keys are `weight` and `bias`, as timm's; ConvNeXt V2's own are `gamma` and `beta`, of shape (1, 1, 1,
    C).

    Args:
        num_channels: C.
        eps: added to the mean length.
        channels_last: channels are the last axis of the shape. A channels_last memory format needs no option.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        ValueError: another number of axes or channels.

    Source: Woo et al. 2023 (ConvNeXt V2), algorithm 1.

    >>> x = torch.randn(2, 3, 4)
    >>> bool((GlobalResponseNorm1d(3)(x) == x).all())
    True
    """

    ranks = (3,)


class GlobalResponseNorm2d(_GlobalResponseNorm):
    """Global response normalization of (N, C, H, W), or (N, H, W, C) with `channels_last`; see `GlobalResponseNorm1d`.

    >>> GlobalResponseNorm2d(3, channels_last=True)(torch.randn(2, 4, 4, 3)).shape
    torch.Size([2, 4, 4, 3])
    """

    ranks = (4,)


class GlobalResponseNorm3d(_GlobalResponseNorm):
    """Global response normalization of (N, C, D, H, W), or with the channels last; see `GlobalResponseNorm1d`.

    >>> GlobalResponseNorm3d(3)(torch.randn(2, 3, 2, 4, 4)).shape
    torch.Size([2, 3, 2, 4, 4])
    """

    ranks = (5,)
