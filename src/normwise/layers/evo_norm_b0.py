"""EvoNorm-B0: a normalization with its nonlinearity, found by evolution."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from normwise.functional.evo_norm_b0 import evo_norm_b0
from normwise.layers._across_samples import AcrossSamples
from normwise.layers._state import Device, DType


class _EvoNormB0(AcrossSamples):
    """All but the number of axes."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-3,
        momentum: float | None = 0.1,
        affine: bool = True,
        device: Device = None,
        dtype: DType = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, device, dtype, bias=bias)
        self.v = nn.Parameter(torch.ones(num_features, device=device, dtype=dtype))
        self.running_mean = None  # nothing is centred
        if momentum is not None:
            # The keys are timm's, which has no counter; an average over all batches cannot go on without.
            self.register_buffer("num_batches_tracked", self.num_batches_tracked, persistent=False)

    def normalize(self, input: Tensor, **after: object) -> Tensor:
        """Scale the input."""
        var: Any = self.running_var
        return evo_norm_b0(
            input,
            var,
            self.v,
            self.weight,
            self.bias,
            self.by_batch(),
            self.momentum,
            self.eps,
            num_batches_tracked=self.num_batches_tracked,
            num_batches_skipped=self.num_batches_skipped,
            moves=self.moves(),
        )

    def reset_parameters(self) -> None:
        """Set running variance, weight, bias and v to their first values."""
        super().reset_parameters()
        nn.init.ones_(self.v)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *others: Any
    ) -> None:
        # `Tracked` adds the counter to old states; where it is no part of the state, there is nothing to add.
        if "num_batches_tracked" in self._non_persistent_buffers_set:
            nn.Module._load_from_state_dict(self, state_dict, prefix, local_metadata, *others)
        else:
            super()._load_from_state_dict(state_dict, prefix, local_metadata, *others)


class EvoNorm1dB0(_EvoNormB0):
    """EvoNorm-B0 of (N, C) or (N, C, L): no activation goes behind it.

    ``y = x / max(sqrt(s²_batch + eps), v · x + sqrt(s²_instance + eps)) · weight + bias`` per channel, with biased
    variances, of the batch over samples and positions, of an instance over positions; in evaluation the batch's is the
    running one, which is unbiased. Names, `eps` and keys of the state_dict are timm's (`weight`, `bias`, `v`,
    `running_var`); with ``momentum=None`` the counter `num_batches_tracked` is in it, too. In (N, C) an instance has no
    variance, and its root is ``sqrt(eps)``.

    What `BatchNorm1d` does with its running statistics, this does with its running variance.

    Args:
        num_features: C.
        eps: added to both variances, under the roots.
        momentum: weight of the new batch in the running variance; None counts all batches alike.
        affine: learn a weight.
        device: of parameters and buffers.
        dtype: of parameters and buffers; the running variance is float32 where it has 16 bits.
        bias: learn a bias beside the weight.

    Raises:
        ArgumentError: (a ValueError) another number of axes or channels, or one value per channel in training.

    Source: Liu et al. 2020, table 2.

    >>> EvoNorm1dB0(1, eps=1e-12)(torch.tensor([[-2.0], [0.0], [2.0]])).detach().round(decimals=3).flatten()
    tensor([-1.2250,  0.0000,  1.0000])
    """

    ranks = (2, 3)


class EvoNorm2dB0(_EvoNormB0):
    """EvoNorm-B0 of (N, C, H, W); see `EvoNorm1dB0`.

    >>> sorted(EvoNorm2dB0(3).state_dict())
    ['bias', 'running_var', 'v', 'weight']
    """

    ranks = (4,)


class EvoNorm3dB0(_EvoNormB0):
    """EvoNorm-B0 of (N, C, D, H, W); see `EvoNorm1dB0`.

    >>> EvoNorm3dB0(3)(torch.randn(2, 3, 2, 4, 4)).shape
    torch.Size([2, 3, 2, 4, 4])
    """

    ranks = (5,)
