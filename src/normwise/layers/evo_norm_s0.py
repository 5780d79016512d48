"""EvoNorm-S0: normalization and activation in one formula, found by search."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from normwise import functional
from normwise.functional.evo_norm_s0 import check_groups
from normwise.layers._state import Affine, Device, DType, Ranked


class _EvoNormS0(Ranked, Affine):
    """State and operation of the three classes; each names the ranks that it takes."""

    v: Tensor

    def __init__(
        self,
        num_features: int,
        groups: int = 32,
        eps: float = 1e-5,
        device: Device = None,
        dtype: DType = None,
    ) -> None:
        check_groups(type(self).__name__, groups, num_features)
        super().__init__((num_features,), affine=True, bias=True, device=device, dtype=dtype)
        self.num_features = num_features
        self.groups = groups
        self.eps = eps
        self.v = nn.Parameter(torch.ones(num_features, device=device, dtype=dtype))

    def reset_parameters(self) -> None:
        """Set weight and gate to one, the bias to zero."""
        super().reset_parameters()
        nn.init.ones_(self.v)

    def normalize(self, input: Tensor, **after: Any) -> Tensor:
        """Normalize the input."""
        self.check_rank(input)
        return functional.evo_norm_s0(input, self.groups, self.v, self.weight, self.bias, self.eps)

    def describe(self) -> str:
        """The arguments, as torch writes them."""
        return f"{self.num_features}, groups={self.groups}, eps={self.eps}"


class EvoNorm1dS0(_EvoNormS0):
    """EvoNorm-S0 of (N, C) or (N, C, L), in the place of a normalization and its activation.

    ``y = x · sigmoid(v · x) / sqrt(σ² + eps) · weight + bias``, with the biased variance σ² per sample and group of
    channels. The mean is not subtracted, and nothing is shared between samples. No activation follows. State_dict
    keys are `weight`, `bias` and `v`, as timm's class of this name has them in 2d.

    Args:
        num_features: C.
        groups: a divisor of C.
        eps: added to the variance, under the root.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        ValueError: C does not divide into the groups, or another number of axes or channels.

    Source: Liu, Brock, Simonyan & Le 2020, table 2.

    >>> EvoNorm1dS0(2, groups=1, eps=1e-12)(torch.tensor([[-20.0, 20.0]])).detach().round(decimals=3)
    tensor([[-0., 1.]])
    """

    ranks = (2, 3)


class EvoNorm2dS0(_EvoNormS0):
    """EvoNorm-S0 of (N, C, H, W), in the place of a normalization and its activation; see `EvoNorm1dS0`.

    >>> EvoNorm2dS0(4, groups=2)(torch.randn(2, 4, 3, 3)).shape
    torch.Size([2, 4, 3, 3])
    """

    ranks = (4,)


class EvoNorm3dS0(_EvoNormS0):
    """EvoNorm-S0 of (N, C, D, H, W), in the place of a normalization and its activation; see `EvoNorm1dS0`.

    >>> EvoNorm3dS0(4, groups=2)(torch.randn(2, 4, 2, 3, 3)).shape
    torch.Size([2, 4, 2, 3, 3])
    """

    ranks = (5,)
