"""Layer normalization: torch's class, and the form over the channels of channels-first input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling

from normwise.functional import layer_norm, layer_norm_over_channels
from normwise.layers._state import Affine, Device, DType, Ranked
from normwise.layers._trace import as_leaf, is_traced
from normwise.layers._tracking import held


class LayerNorm(nn.LayerNorm):
    """Layer normalization of (*, *normalized_shape); equal to `torch.nn.LayerNorm`.

    ``y = (x − μ) / sqrt(σ² + eps) · weight + bias`` over the trailing axes, with the biased variance.
    Arguments, defaults, state_dict keys and error types are torch's.

    Raises:
        RuntimeError: the input does not end in `normalized_shape`.

    Source: Ba, Kiros & Hinton 2016.

    >>> import torch
    >>> LayerNorm(2)(torch.tensor([[1.0, 3.0]])).detach().round(decimals=3)
    tensor([[-1.,  1.]])
    """

    def forward(self, input: Any, sample_weight: Tensor | None = None) -> Any:
        """Normalize the input.

        Args:
            input: (*, *normalized_shape).
            sample_weight: broadcasts to the input: the part of an element in the statistics, or a mask of booleans;
                False leaves padding out, whatever it is.
        """
        # Compiled, this asks less at every call than the same by way of `layer_norm`.
        if sample_weight is None and is_compiling():
            return torch.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)
        if not isinstance(input, Tensor) and is_traced(input):
            return as_leaf(self, input, sample_weight=sample_weight)
        return layer_norm(
            input,
            self.normalized_shape,
            held(self, "weight"),
            held(self, "bias"),
            self.eps,
            sample_weight=sample_weight,
            residual=None,
            activation="none",
            dropout=0.0,
            backend=None,
        )


class LayerNormOverChannels(Ranked, Affine):
    """State and operation of the forms over channels; a class names the ranks that it takes."""

    def __init__(
        self,
        num_channels: int,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Device = None,
        dtype: DType = None,
    ) -> None:
        super().__init__((num_channels,), affine=elementwise_affine, bias=bias, device=device, dtype=dtype)
        self.num_channels = num_channels
        self.eps = eps
        self.elementwise_affine = elementwise_affine

    def normalize(self, input: Tensor, **after: Any) -> Tensor:
        """Normalize the input."""
        self.check_rank(input)
        return layer_norm_over_channels(
            input, held(self, "weight"), held(self, "bias"), self.eps, num_channels=self.num_channels, **after
        )

    def describe(self) -> str:
        """The arguments, as torch writes them."""
        return (
            f"{self.num_channels}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class LayerNorm1d(LayerNormOverChannels):
    """Layer normalization over the channels of (N, C) or (N, C, L), position by position.

    ``y = (x − μ) / sqrt(σ² + eps) · weight + bias``, with mean and biased variance over C. Weight and bias
    are (C,), as those of ``torch.nn.LayerNorm(C)`` after moving the channels last, and so are the state_dict
    keys. The default `eps` is torch's 1e-5; ConvNeXt uses 1e-6.

    Args:
        num_channels: C.
        eps: added to the variance, under the root.
        elementwise_affine: learn a weight.
        bias: learn a bias beside the weight.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        ValueError: another number of axes or channels.

    Source: Liu et al. 2022 (ConvNeXt).

    >>> import torch
    >>> LayerNorm1d(2)(torch.tensor([[[1.0], [3.0]]])).detach().round(decimals=3).flatten()
    tensor([-1.,  1.])
    """

    ranks = (2, 3)


class LayerNorm2d(LayerNormOverChannels):
    """Layer normalization over the channels of (N, C, H, W), position by position; see `LayerNorm1d`.

    >>> import torch
    >>> LayerNorm2d(3)(torch.randn(2, 3, 4, 4)).mean(dim=1).abs().max() < 1e-5
    tensor(True)
    """

    ranks = (4,)


class LayerNorm3d(LayerNormOverChannels):
    """Layer normalization over the channels of (N, C, D, H, W), position by position; see `LayerNorm1d`.

    >>> import torch
    >>> LayerNorm3d(3)(torch.randn(2, 3, 2, 4, 4)).shape
    torch.Size([2, 3, 2, 4, 4])
    """

    ranks = (5,)
