"""Batch normalization that subtracts the mean and does not scale."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from normwise.functional.mean_only_batch_norm import mean_only_batch_norm
from normwise.layers._across_samples import Weighable
from normwise.layers._state import Device, DType


class _MeanOnlyBatchNorm(Weighable):
    """All but the number of axes."""

    def __init__(
        self,
        num_features: int,
        momentum: float | None = 0.1,
        device: Device = None,
        dtype: DType = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, momentum=momentum, device=device, dtype=dtype, bias=bias)
        # There is no scale: the state has neither of the two.
        self.weight = self.running_var = None

    def normalize(self, input: Tensor, **after: Any) -> Tensor:
        """Subtract the mean."""
        mean = self.running_mean if self.moves() or not self.by_batch() else None
        return mean_only_batch_norm(
            input,
            mean,
            self.bias,
            self.by_batch(),
            self.momentum,
            num_batches_tracked=self.num_batches_tracked,
            num_batches_skipped=self.num_batches_skipped,
            **after,
        )

    def describe(self) -> str:
        """The arguments."""
        bias = self.bias is not None
        return f"{self.num_features}, momentum={self.momentum}, bias={bias}{self.tracking_repr()}"


class MeanOnlyBatchNorm1d(_MeanOnlyBatchNorm):
    """Mean-only batch normalization of (N, C) or (N, C, L).

    ``y = x − μ + bias`` per channel, with the batch's mean over samples and positions in training and the running one
    in evaluation. It goes behind a layer with weight normalization, which sees to the scale: the noise of the batch is
    that of a mean, gentler than that of a variance. The bias takes the place of the layer's own.

    What `BatchNorm1d` does with its running statistics, this does with its running mean.

    Args:
        num_features: C.
        momentum: weight of the new batch in the running mean; None counts all batches alike.
        device: of bias and buffers.
        dtype: of bias and buffers; the running mean is float32 where it has 16 bits.
        bias: learn a bias.

    Raises:
        ArgumentError: (a ValueError) another number of axes or channels, or one value per channel in training: it
            would become the bias, whatever it is.

    Source: Salimans & Kingma 2016, section 4.

    >>> import torch
    >>> MeanOnlyBatchNorm1d(1)(torch.tensor([[1.0], [3.0]])).detach().flatten()
    tensor([-1.,  1.])
    """

    ranks = (2, 3)


class MeanOnlyBatchNorm2d(_MeanOnlyBatchNorm):
    """Mean-only batch normalization of (N, C, H, W); see `MeanOnlyBatchNorm1d`.

    >>> sorted(MeanOnlyBatchNorm2d(3).state_dict())
    ['bias', 'num_batches_tracked', 'running_mean']
    """

    ranks = (4,)


class MeanOnlyBatchNorm3d(_MeanOnlyBatchNorm):
    """Mean-only batch normalization of (N, C, D, H, W); see `MeanOnlyBatchNorm1d`.

    >>> import torch
    >>> MeanOnlyBatchNorm3d(3)(torch.randn(2, 3, 2, 4, 4)).shape
    torch.Size([2, 3, 2, 4, 4])
    """

    ranks = (5,)
