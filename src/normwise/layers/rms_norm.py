"""Root mean square normalization: torch's class, and the form over the channels of channels-first input."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from normwise import functional
from normwise.layers._state import Affine, Device, DType, Ranked
from normwise.layers._trace import as_leaf, is_traced
from normwise.layers._tracking import held


class RMSNorm(nn.RMSNorm):
    """Root mean square normalization of (*, *normalized_shape); equal to `torch.nn.RMSNorm`.

    ``y = x / sqrt(mean(x²) + eps) · weight`` over the trailing axes. Arguments, defaults (`eps` None is the
    machine epsilon of the statistics' dtype), state_dict keys and error types are torch's.

    Raises:
        RuntimeError: the input does not end in `normalized_shape`.

    Source: Zhang & Sennrich 2019, which has no eps.

    >>> import torch
    >>> RMSNorm(2)(torch.tensor([[3.0, -3.0]])).detach().round(decimals=3)
    tensor([[ 1., -1.]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalize the input."""
        if is_traced(x):
            output: Tensor = as_leaf(self, x)
            return output
        return functional.rms_norm(x, self.normalized_shape, self.weight, self.eps)


class RMSNormOverChannels(Ranked, Affine):
    """State and operation of the forms over channels; a class names the ranks that it takes."""

    def __init__(
        self,
        num_channels: int,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Device = None,
        dtype: DType = None,
    ) -> None:
        super().__init__((num_channels,), affine=elementwise_affine, bias=False, device=device, dtype=dtype)
        self.num_channels = num_channels
        self.eps = eps
        self.elementwise_affine = elementwise_affine

    def normalize(self, input: Tensor, **after: Any) -> Tensor:
        """Normalize the input."""
        self.check_rank(input)
        return functional.rms_norm_over_channels(
            input, held(self, "weight"), self.eps, num_channels=self.num_channels, **after
        )

    def describe(self) -> str:
        """The arguments, as torch writes them."""
        return f"{self.num_channels}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class RMSNorm1d(RMSNormOverChannels):
    """Root mean square normalization over the channels of (N, C) or (N, C, L), position by position.

    ``y = x / sqrt(mean(x²) + eps) · weight``, with the mean over C. The weight is (C,), as that of
    ``torch.nn.RMSNorm(C)`` after moving the channels last, and so is the state_dict key. Without a weight and with
    ``eps=1e-8`` it is the PixelNorm of Karras et al. 2018.

    Args:
        num_channels: C.
        eps: added to the mean square, under the root; None is the machine epsilon of the statistics' dtype.
        elementwise_affine: learn a weight.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        ValueError: another number of axes or channels.

    >>> import torch
    >>> RMSNorm1d(2)(torch.tensor([[[3.0], [-3.0]]])).detach().round(decimals=3).flatten()
    tensor([ 1., -1.])
    """

    ranks = (2, 3)


class RMSNorm2d(RMSNormOverChannels):
    """Root mean square normalization over the channels of (N, C, H, W), position by position.

    The formula and the arguments are those of `RMSNorm1d`.

    >>> import torch
    >>> RMSNorm2d(3)(torch.randn(2, 3, 4, 4)).shape
    torch.Size([2, 3, 4, 4])
    """

    ranks = (4,)


class RMSNorm3d(RMSNormOverChannels):
    """Root mean square normalization over the channels of (N, C, D, H, W), position by position.

    The formula and the arguments are those of `RMSNorm1d`.

    >>> import torch
    >>> RMSNorm3d(3)(torch.randn(2, 3, 2, 4, 4)).shape
    torch.Size([2, 3, 2, 4, 4])
    """

    ranks = (5,)
