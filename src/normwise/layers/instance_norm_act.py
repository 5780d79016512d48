"""Instance normalization with residual, activation and dropout in one call."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from normwise.errors import ArgumentError, explain
from normwise.layers._fused import Fused
from normwise.layers._state import Device, DType, Ranked, Tracked
from normwise.layers.instance_norm import instance_norm_of


class _InstanceNormAct(Ranked, Fused, Tracked):
    """All but the ranks of the three classes."""

    takes_weights = True

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
        activation: str = "none",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(
            num_features,
            eps,
            momentum,
            affine=affine,
            bias=bias,
            track_running_stats=track_running_stats,
            device=device,
            dtype=dtype,
        )
        self.set_finish(activation, dropout)

    def normalize(self, input: Tensor, **after: Any) -> Tensor:
        """Normalize the input; one without samples, (C, *), is a batch of one."""
        self.check_rank(input)
        unbatched = input.dim() == self.ranks[0]
        if unbatched:
            input = input.unsqueeze(0)
            if after.get("residual") is not None:
                after["residual"] = after["residual"].unsqueeze(0)
        if input.shape[1] != self.num_features and (self.affine or self.track_running_stats):
            raise ArgumentError(
                explain(
                    type(self).__name__,
                    f"the input must have the {self.num_features} channels of the layer",
                    f"{input.shape[1]}",
                )
            )
        output = instance_norm_of(self, input, **after)
        return output.squeeze(0) if unbatched else output


class InstanceNormAct1d(_InstanceNormAct):
    """Instance normalization of (N, C, L) or (C, L), then residual, activation and dropout.

    ``y = dropout(activation(instance_norm(x) + residual))``, called as ``layer(x, residual=None)``. The
    state_dict keys are those of `InstanceNorm1d`, of which it is no subclass. The arguments are those of
    `BatchNormAct1d`, with torch's defaults for instance normalization: no affine map, nothing tracked.

    Raises:
        ValueError: another number of axes or channels, a single position in training, a rate that is no
            probability, or a residual of another shape.
        UnknownNameError: the activation is not known.

    Source: Ulyanov, Vedaldi & Lempitsky 2016.

    >>> import torch
    >>> InstanceNormAct1d(1, activation="relu")(torch.tensor([[[1.0, 3.0]]])).round(decimals=3).flatten()
    tensor([0., 1.])
    """

    ranks = (2, 3)


class InstanceNormAct2d(_InstanceNormAct):
    """Instance normalization of (N, C, H, W) or (C, H, W), then residual, activation and dropout.

    See `InstanceNormAct1d`.

    >>> import torch
    >>> InstanceNormAct2d(3, activation="gelu")(torch.randn(2, 3, 4, 4)).shape
    torch.Size([2, 3, 4, 4])
    """

    ranks = (3, 4)


class InstanceNormAct3d(_InstanceNormAct):
    """Instance normalization of (N, C, D, H, W) or (C, D, H, W), then residual, activation and dropout.

    See `InstanceNormAct1d`.

    >>> import torch
    >>> InstanceNormAct3d(3, activation="silu")(torch.randn(2, 3, 2, 4, 4)).shape
    torch.Size([2, 3, 2, 4, 4])
    """

    ranks = (4, 5)
