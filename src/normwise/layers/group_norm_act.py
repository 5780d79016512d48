"""Group normalization with residual, activation and dropout in one call."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from normwise import functional
from normwise.geometry import Geometry
from normwise.layers._fused import Fused
from normwise.layers._state import Affine, Device, DType
from normwise.layers._tracking import held


class GroupNormAct(Fused, Affine):
    """Group normalization of (N, C, *), then residual, activation and dropout.

    ``y = dropout(activation(group_norm(x) + residual))``, called as ``layer(x, residual=None)``. The
    state_dict keys are those of `GroupNorm`, of which it is no subclass.

    Args:
        num_groups: G, a divisor of C.
        num_channels: C.
        eps: added to the variance, under the root.
        affine: learn a weight.
        device: of the parameters.
        dtype: of the parameters.
        bias: learn a bias beside the weight.
        activation: "none", "relu", "leaky_relu" (slope 0.01), "gelu" (exact), "silu", "tanh" or "sigmoid".
        dropout: probability of an element to be zeroed in training.

    Raises:
        ValueError: `num_channels` is not divisible by `num_groups`, a rate that is no probability, or a
            residual of another shape.
        UnknownNameError: the activation is not known.

    Source: Wu & He 2018.

    >>> import torch
    >>> layer = GroupNormAct(2, 4, activation="relu")
    >>> layer(torch.tensor([[1.0, 3.0, 10.0, 30.0]])).detach().round(decimals=3)
    tensor([[0., 1., 0., 1.]])
    """

    takes_weights = True

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
        activation: str = "none",
        dropout: float = 0.0,
    ) -> None:
        Geometry.group((1, num_channels), num_groups)  # refuses, with the divisors as a hint
        super().__init__((num_channels,), affine=affine, bias=bias, device=device, dtype=dtype)
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self.set_finish(activation, dropout)

    def normalize(self, input: Tensor, **after: Any) -> Tensor:
        """Normalize the input."""
        return functional.group_norm(
            input, self.num_groups, held(self, "weight"), held(self, "bias"), self.eps, **after
        )

    def describe(self) -> str:
        """The arguments, as torch writes them."""
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )
