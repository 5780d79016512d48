"""Switchable normalization: the mixture of instance, layer and batch statistics is learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normwise.functional.switchable_norm import switchable_norm
from normwise.layers._across_samples import AcrossSamples
from normwise.layers._state import Device, DType


class _SwitchableNorm(AcrossSamples):
    """All but the number of axes."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        device: Device = None,
        dtype: DType = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, device, dtype, bias=bias)
        self.mean_weight = nn.Parameter(torch.ones(3, device=device, dtype=dtype))
        self.var_weight = nn.Parameter(torch.ones(3, device=device, dtype=dtype))

    def normalize(self, input: Tensor, **after: object) -> Tensor:
        """Normalize the input."""
        return switchable_norm(
            input,
            self.running(),
            self.mean_weight,
            self.var_weight,
            self.weight,
            self.bias,
            self.by_batch(),
            self.eps,
            moves=self.moves(),
        )

    def reset_parameters(self) -> None:
        """Set running statistics, weight and bias to their first values, and let all three kinds count alike."""
        super().reset_parameters()
        nn.init.ones_(self.mean_weight)
        nn.init.ones_(self.var_weight)


class SwitchableNorm1d(_SwitchableNorm):
    """Switchable normalization of (N, C) or (N, C, L).

    ``y = (x − Σ_k p_k μ_k) / sqrt(Σ_k q_k σ²_k + eps) · weight + bias`` with ``p = softmax(mean_weight)``,
    ``q = softmax(var_weight)`` and k over instance, layer and batch, in this order. Layer statistics go over all
    channels and positions of a sample. In evaluation the batch's are the running ones. With one position a channel, as
    for (N, C), there are no instance statistics, and the softmax goes over layer and batch alone.

    What `BatchNorm1d` does with its running statistics, this does, too. The published code has weight and bias as
    (1, C, 1, 1); here they are (C,), as torch's are.

    Args:
        num_features: C.
        eps: added to the mixed variance, under the root.
        momentum: weight of the new batch in the running statistics; None counts all batches alike.
        affine: learn a weight.
        device: of parameters and buffers.
        dtype: of parameters and buffers; buffers are float32 where it has 16 bits.
        bias: learn a bias beside the weight.

    Raises:
        ArgumentError: (a ValueError) another number of axes or channels, or one value per channel in training.

    Source: Luo et al. 2019, equations 2 to 5.

    >>> layer = SwitchableNorm1d(2)
    >>> layer(torch.tensor([[0.0, 4.0], [2.0, 6.0]])).detach().round(decimals=2)
    tensor([[-0.9500,  0.3200],
            [-0.3200,  0.9500]])
    """

    ranks = (2, 3)


class SwitchableNorm2d(_SwitchableNorm):
    """Switchable normalization of (N, C, H, W); see `SwitchableNorm1d`.

    >>> SwitchableNorm2d(3)(torch.randn(2, 3, 4, 4)).shape
    torch.Size([2, 3, 4, 4])
    """

    ranks = (4,)


class SwitchableNorm3d(_SwitchableNorm):
    """Switchable normalization of (N, C, D, H, W); see `SwitchableNorm1d`.

    >>> SwitchableNorm3d(3)(torch.randn(2, 3, 2, 4, 4)).shape
    torch.Size([2, 3, 2, 4, 4])
    """

    ranks = (5,)
