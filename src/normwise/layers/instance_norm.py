"""Instance normalization: torch's classes over normwise's operation, which keeps channels_last."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm

from normwise import functional
from normwise.errors import ArgumentError, explain
from normwise.layers._state import Device, DType
from normwise.layers._trace import as_leaf, is_traced
from normwise.layers._tracking import Tracking


def instance_norm_of(layer: Any, input: Tensor, **after: Any) -> Tensor:
    """Normalize by the state of a layer that has the attributes of torch's and of `Tracking`, fused or not.

    The input's own statistics are used in training and where none are tracked.
    """
    own = not layer.track_running_stats or (layer.training and not layer.statistics_frozen)
    tracks = not own or layer.moves()
    return functional.instance_norm(
        input,
        layer.running_mean if tracks else None,
        layer.running_var if tracks else None,
        layer.weight,
        layer.bias,
        own,
        0.0 if layer.momentum is None else layer.momentum,
        layer.eps,
        num_batches_skipped=layer.num_batches_skipped,
        **after,
    )


class _InstanceNormForward(Tracking, _InstanceNorm):
    """The operation of the three classes; checks and the form without samples are torch's."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Device = None,
        dtype: DType = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.set_tracking()

    def forward(self, input: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Normalize the input.

        Args:
            input: (N, C, *), or (C, *) without weights.
            sample_weight: (N, *) or (N,), the part of a position in the statistics, or a mask of booleans: False leaves
                padding out, whatever it is.
        """
        if is_traced(input):
            output: Tensor = as_leaf(self, input, sample_weight=sample_weight)
            return output
        if sample_weight is None:
            return super().forward(input)
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        if input.dim() == self._get_no_batch_dim():  # type: ignore[no-untyped-call]
            raise ArgumentError(
                explain(
                    type(self).__name__,
                    "`sample_weight` goes with an input that has samples, (N, C, *)",
                    f"input size {tuple(input.shape)}",
                    "add an axis with unsqueeze(0)",
                )
            )
        return instance_norm_of(self, input, sample_weight=sample_weight)

    def _apply_instance_norm(self, input: Tensor) -> Tensor:
        return instance_norm_of(self, input)

    def extra_repr(self) -> str:
        """The arguments, as torch writes them, and what is unlike torch."""
        return super().extra_repr() + self.tracking_repr()  # type: ignore[no-untyped-call,no-any-return]


class InstanceNorm1d(_InstanceNormForward, nn.InstanceNorm1d):
    """Instance normalization of (N, C, L) or (C, L); equal to `torch.nn.InstanceNorm1d`.

    ``y = (x − μ) / sqrt(σ² + eps) · weight + bias`` per sample and channel, with the biased variance.
    Arguments, defaults (no affine map, nothing tracked), state_dict keys and error types are torch's.

    Raises:
        ValueError: another number of axes, or a single position in training.

    Source: Ulyanov, Vedaldi & Lempitsky 2016.

    >>> import torch
    >>> InstanceNorm1d(1)(torch.tensor([[[1.0, 3.0]]])).round(decimals=3).flatten()
    tensor([-1.,  1.])
    """


class InstanceNorm2d(_InstanceNormForward, nn.InstanceNorm2d):
    """Instance normalization of (N, C, H, W) or (C, H, W); equal to `torch.nn.InstanceNorm2d`.

    See `InstanceNorm1d`. A channels_last input gives a channels_last output; torch's own is contiguous.

    >>> import torch
    >>> x = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    >>> InstanceNorm2d(3)(x).is_contiguous(memory_format=torch.channels_last)
    True
    """


class InstanceNorm3d(_InstanceNormForward, nn.InstanceNorm3d):
    """Instance normalization of (N, C, D, H, W) or (C, D, H, W); equal to `torch.nn.InstanceNorm3d`.

    See `InstanceNorm1d`. A channels_last_3d input gives a channels_last_3d output.

    >>> import torch
    >>> InstanceNorm3d(3)(torch.randn(2, 3, 2, 4, 4)).shape
    torch.Size([2, 3, 2, 4, 4])
    """
