"""Split batch normalization: auxiliary statistics for the parts of a batch that come from elsewhere."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from normwise.errors import ArgumentError, explain
from normwise.layers._across_samples import AcrossSamples
from normwise.layers._state import Device, DType, Tracked
from normwise.layers.batch_norm import batch_norm_of

SelfT = TypeVar("SelfT", bound="_SplitBatchNorm")


class _SplitBatchNorm(AcrossSamples):
    """All but the number of axes."""

    aux_bn: nn.ModuleList

    def __init__(
        self,
        num_features: int,
        num_splits: int = 2,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Device = None,
        dtype: DType = None,
        *,
        bias: bool = True,
    ) -> None:
        if num_splits < 2:
            raise ArgumentError(
                explain(
                    type(self).__name__,
                    "`num_splits` must be at least 2",
                    f"{num_splits}",
                    "one is BatchNorm",
                )
            )
        state: dict[str, Any] = {
            "affine": affine,
            "bias": bias,
            "track_running_stats": track_running_stats,
            "device": device,
            "dtype": dtype,
        }
        super().__init__(num_features, eps, momentum, **state)
        self.num_splits = num_splits
        # Not normalizations that torch's converters know: one half of the layer would be converted.
        self.aux_bn = nn.ModuleList(
            Tracked(num_features, eps, momentum, **state) for _ in range(num_splits - 1)
        )

    def auxiliary(self) -> list[Tracked]:
        """What holds the statistics and the affine maps of the second part and those that follow."""
        return [part for part in self.aux_bn if isinstance(part, Tracked)]

    def normalize(self, input: Tensor, **after: Any) -> Tensor:
        """Normalize the input part by part in training, all of it as the first part in evaluation."""
        if not self.training:
            return batch_norm_of(self, input, **after)
        if input.shape[0] % self.num_splits:
            raise ArgumentError(
                explain(
                    type(self).__name__,
                    "a batch must fall into `num_splits` parts of one size when training",
                    f"{input.shape[0]} samples and {self.num_splits} parts",
                    "which samples belong together cannot be guessed: drop_last=True drops a short last batch",
                )
            )
        parts = input.tensor_split(self.num_splits)
        holders = (self, *self.auxiliary())
        return torch.cat([batch_norm_of(*pair) for pair in zip(holders, parts, strict=True)])

    def freeze_statistics(self: SelfT, frozen: bool = True) -> SelfT:
        """Use the running statistics of each part in training, too, and leave them as they are; see `Tracking`."""
        for part in self.auxiliary():
            part.freeze_statistics(frozen)
        return super().freeze_statistics(frozen)

    def freeze_affine(self: SelfT, frozen: bool = True) -> SelfT:
        """Let weights and biases of all parts have no gradient, until this is taken back."""
        for part in self.auxiliary():
            part.freeze_affine(frozen)
        return super().freeze_affine(frozen)

    def reset_running_stats(self) -> None:
        """Set all running means to zero, variances to one and counters to zero."""
        for part in self.auxiliary():
            part.reset_running_stats()
        super().reset_running_stats()

    def reset_parameters(self) -> None:
        """Set running statistics, weights and biases of all parts to their first values."""
        for part in self.auxiliary():
            part.reset_parameters()
        super().reset_parameters()

    def arguments(self) -> dict[str, Any]:
        """The number of parts."""
        return {"num_splits": self.num_splits, "track_running_stats": self.track_running_stats}


class SplitBatchNorm1d(_SplitBatchNorm):
    """Split batch normalization of (N, C) or (N, C, L).

    ``y = (x − μ_k) / sqrt(σ²_k + eps) · weight_k + bias_k`` per channel, where in training the batch is cut into
    `num_splits` parts of one size, one behind the other, and part k has statistics, running statistics, weight and bias
    of its own. The first part's are the layer's (`weight`, `running_mean`, …), the others' are auxiliary
    (``aux_bn.0.weight``, …; the keys of timm). Evaluation takes the first part's alone. For adversarial examples, or
    strongly augmented ones, behind the clean ones: the statistics that evaluation uses see clean samples only.

    Each part's running statistics are kept as `BatchNorm1d` keeps its own. Frozen statistics (`freeze_statistics`) are
    frozen in all parts, each of which is normalized by its own.

    Args:
        num_features: C.
        num_splits: the number of parts, at least 2.
        eps: added to the variance, under the root.
        momentum: weight of the new batch in the running statistics; None counts all batches alike.
        affine: learn weights.
        track_running_stats: keep running statistics and use them in evaluation.
        device: of parameters and buffers.
        dtype: of parameters and buffers; buffers are float32 where it has 16 bits.
        bias: learn biases beside the weights.

    Raises:
        ArgumentError: (a ValueError) another number of axes or channels, a batch in training that does not divide
            into the parts, or a part of one value per channel.

    Source: Xie et al. 2020 (AdvProp), section 4.

    >>> layer = SplitBatchNorm1d(1, momentum=1.0)
    >>> _ = layer(torch.tensor([[0.0], [2.0], [10.0], [14.0]]))
    >>> layer.running_mean, layer.aux_bn[0].running_mean
    (tensor([1.]), tensor([12.]))
    """

    ranks = (2, 3)


class SplitBatchNorm2d(_SplitBatchNorm):
    """Split batch normalization of (N, C, H, W); see `SplitBatchNorm1d`.

    >>> sorted(SplitBatchNorm2d(3, affine=False).state_dict())[:3]
    ['aux_bn.0.num_batches_tracked', 'aux_bn.0.running_mean', 'aux_bn.0.running_var']
    """

    ranks = (4,)


class SplitBatchNorm3d(_SplitBatchNorm):
    """Split batch normalization of (N, C, D, H, W); see `SplitBatchNorm1d`.

    >>> SplitBatchNorm3d(3)(torch.randn(2, 3, 2, 4, 4)).shape
    torch.Size([2, 3, 2, 4, 4])
    """

    ranks = (5,)
