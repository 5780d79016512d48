"""Root mean square normalization with residual, activation and dropout in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from normwise import functional
from normwise.layers._fused import Fused
from normwise.layers._state import Affine, Device, DType
from normwise.layers._tracking import held
from normwise.layers.rms_norm import RMSNormOverChannels


class RMSNormAct(Fused, Affine):
    """Root mean square normalization of (*, *normalized_shape), then residual, activation and dropout.

    ``y = dropout(activation(rms_norm(x) + residual))``, called as ``layer(x, residual=None)``. The state_dict
    keys are those of `RMSNorm`, of which it is no subclass.

    Args:
        normalized_shape: the trailing axes.
        eps: added to the mean square, under the root; None is the machine epsilon of the statistics' dtype.
        elementwise_affine: learn a weight.
        device: of the parameters.
        dtype: of the parameters.
        activation: "none", "relu", "leaky_relu" (slope 0.01), "gelu" (exact), "silu", "tanh" or "sigmoid".
        dropout: probability of an element to be zeroed in training.

    Raises:
        RuntimeError: the input does not end in `normalized_shape`.
        ValueError: a rate that is no probability, or a residual of another shape.
        UnknownNameError: the activation is not known.

    Source: Zhang & Sennrich 2019, which has no eps.

    >>> import torch
    >>> RMSNormAct(2, activation="relu")(torch.tensor([[-3.0, 3.0]])).detach().round(decimals=3)
    tensor([[0., 1.]])
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Device = None,
        dtype: DType = None,
        *,
        activation: str = "none",
        dropout: float = 0.0,
    ) -> None:
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        super().__init__(shape, affine=elementwise_affine, bias=False, device=device, dtype=dtype)
        self.normalized_shape = shape
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self.set_finish(activation, dropout)

    def normalize(self, input: Tensor, **after: Any) -> Tensor:
        """Normalize the input."""
        return functional.rms_norm(input, self.normalized_shape, held(self, "weight"), self.eps, **after)

    def describe(self) -> str:
        """The arguments, as torch writes them."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class _RMSNormActOverChannels(Fused, RMSNormOverChannels):
    """All but the ranks of the three classes."""

    def __init__(
        self,
        num_channels: int,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Device = None,
        dtype: DType = None,
        *,
        activation: str = "none",
        dropout: float = 0.0,
    ) -> None:
        super().__init__(num_channels, eps, elementwise_affine, device, dtype)
        self.set_finish(activation, dropout)


class RMSNormAct1d(_RMSNormActOverChannels):
    """RMS normalization over the channels of (N, C) or (N, C, L), then residual, activation, dropout.

    The arguments of `RMSNorm1d`, and `activation` and `dropout` as in `RMSNormAct`; called as ``layer(x,
    residual=None)``.

    >>> import torch
    >>> RMSNormAct1d(2, activation="relu")(torch.tensor([[-3.0, 3.0]])).detach().round(decimals=3)
    tensor([[0., 1.]])
    """

    ranks = (2, 3)


class RMSNormAct2d(_RMSNormActOverChannels):
    """RMS normalization over the channels of (N, C, H, W), then residual, activation, dropout.

    The arguments of `RMSNorm1d`, and `activation` and `dropout` as in `RMSNormAct`; called as ``layer(x,
    residual=None)``.

    >>> import torch
    >>> RMSNormAct2d(3, activation="silu")(torch.randn(2, 3, 4, 4)).shape
    torch.Size([2, 3, 4, 4])
    """

    ranks = (4,)


class RMSNormAct3d(_RMSNormActOverChannels):
    """RMS normalization over the channels of (N, C, D, H, W), then residual, activation, dropout.

    The arguments of `RMSNorm1d`, and `activation` and `dropout` as in `RMSNormAct`; called as ``layer(x,
    residual=None)``.

    >>> import torch
    >>> RMSNormAct3d(3, activation="tanh")(torch.randn(2, 3, 2, 4, 4)).shape
    torch.Size([2, 3, 2, 4, 4])
    """

    ranks = (5,)
