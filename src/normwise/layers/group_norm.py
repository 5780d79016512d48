"""Group normalization: torch's class over normwise's operation."""

from __future__ import annotations

from torch import Tensor, nn

from normwise import functional
from normwise.geometry import Geometry
from normwise.layers._state import Device, DType
from normwise.layers._trace import as_leaf, is_traced
from normwise.layers._tracking import held


class GroupNorm(nn.GroupNorm):
    """Group normalization of (N, C, *); equal to `torch.nn.GroupNorm`.

    ``y = (x − μ) / sqrt(σ² + eps) · weight + bias`` per sample and group of channels, with the biased
    variance. Arguments, defaults, state_dict keys and error types are torch's.

    Args:
        num_groups: G, a divisor of C.
        num_channels: C.
        eps: added to the variance, under the root.
        affine: learn a weight.
        device: of the parameters.
        dtype: of the parameters.
        bias: learn a bias beside the weight.

    Raises:
        ValueError: `num_channels` is not divisible by `num_groups`.

    Source: Wu & He 2018.

    >>> import torch
    >>> GroupNorm(2, 4)(torch.tensor([[1.0, 3.0, 10.0, 30.0]])).detach().round(decimals=3)
    tensor([[-1.,  1., -1.,  1.]])
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Device = None,
        dtype: DType = None,
        *,
        bias: bool = True,
    ) -> None:
        Geometry.group((1, num_channels), num_groups)  # refuses, with the divisors as a hint
        super().__init__(num_groups, num_channels, eps, affine, device, dtype, bias=bias)

    def forward(self, input: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Normalize the input.

        Args:
            input: (N, C, *).
            sample_weight: (N, *) or (N,), the part of a position in the statistics, or a mask of booleans: False leaves
                padding out, whatever it is.
        """
        if is_traced(input):
            output: Tensor = as_leaf(self, input, sample_weight=sample_weight)
            return output
        return functional.group_norm(
            input,
            self.num_groups,
            held(self, "weight"),
            held(self, "bias"),
            self.eps,
            sample_weight=sample_weight,
        )
