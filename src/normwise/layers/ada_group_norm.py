"""Adaptive group normalization, as in diffusion models."""

from __future__ import annotations

from normwise.layers._state import Device, DType
from normwise.layers.conditional_norm import ConditionalNorm
from normwise.layers.group_norm import GroupNorm
from normwise.layers.modulation import LinearModulation


class AdaGroupNorm(ConditionalNorm):
    """Group normalization of (N, C, *), scaled and shifted by a vector: ``layer(input, condition)``.

    ``y = (x − μ) / sqrt(σ² + eps) · (1 + γ) + β``, with statistics per sample and group, and
    ``γ, β = W · activation(c) + b``, zero at the start.

    Args:
        num_groups: G, a divisor of C.
        num_channels: C.
        num_conditions: E; the condition is (N, E), of time step and class, say.
        eps: added to the variance, under the root.
        activation: of the condition, before the linear map.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        ValueError: C does not divide into the groups, or batch or size of the condition do not fit.
        UnknownNameError: the activation is not known.

    Source: Dhariwal & Nichol 2021, section 3 (AdaGN), whose group normalization has an affine map of its own besides.

    >>> import torch
    >>> AdaGroupNorm(2, 4, 8)(torch.randn(3, 4, 5, 5), torch.randn(3, 8)).shape
    torch.Size([3, 4, 5, 5])
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        num_conditions: int,
        eps: float = 1e-5,
        activation: str = "silu",
        device: Device = None,
        dtype: DType = None,
    ) -> None:
        norm = GroupNorm(num_groups, num_channels, eps, affine=False)
        modulation = LinearModulation(num_conditions, num_channels, 2, activation, device, dtype)
        super().__init__(norm, modulation)
