"""Dynamic tanh: a bounded map in the place of a normalization, over trailing axes or per channel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from normwise.errors import ArgumentError, explain
from normwise.functional._channels import check_channels
from normwise.functional._wide import affine, widened
from normwise.layers._state import Affine, Device, DType, Ranked


class _DynamicTanh(Affine):
    """State of all forms."""

    alpha: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        alpha: float,
        elementwise_affine: bool,
        bias: bool,
        device: Device,
        dtype: DType,
    ) -> None:
        super().__init__(shape, affine=elementwise_affine, bias=bias, device=device, dtype=dtype)
        if not math.isfinite(alpha):
            raise ArgumentError(explain(type(self).__name__, "`alpha` must be finite", repr(alpha)))
        self.initial_alpha = alpha
        self.elementwise_affine = elementwise_affine
        # Of one axis, as the authors' checkpoints have it.
        self.alpha = nn.Parameter(torch.full((1,), alpha, device=device, dtype=dtype))

    def reset_parameters(self) -> None:
        """Set alpha to its first value, the weight to one and the bias to zero."""
        super().reset_parameters()
        nn.init.constant_(self.alpha, self.initial_alpha)

    def squashed(self, input: Tensor) -> Tensor:
        """``tanh(alpha · x)`` in float32, float64 for float64 input."""
        wide = widened(input)
        return torch.tanh(self.alpha.to(wide.dtype) * wide)

    def _options(self) -> str:
        # Not the value that it has by now: to read that would wait for the device, and fail without one.
        return (
            f"alpha={self.initial_alpha} at first, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class DynamicTanh(_DynamicTanh):
    """Dynamic tanh of (*, *normalized_shape), in the place of `LayerNorm` or `RMSNorm`: there are no statistics.

    ``y = tanh(alpha · x) · weight + bias``, with one learned alpha. State_dict keys are `alpha` (of shape (1,)),
    `weight` and `bias`, as the authors'.

    Args:
        normalized_shape: the trailing axes, each element of which has a weight and a bias; a number is one axis.
        alpha: to start with. The authors use 0.5 everywhere but in language models, where narrower ones want more,
            up to 1, and wide ones less.
        elementwise_affine: learn a weight.
        bias: learn a bias beside the weight.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        ValueError: the input does not end in `normalized_shape`.

    Source: Zhu, Chen, He, LeCun & Liu 2025, equation 1.

    >>> DynamicTanh(2)(torch.tensor([[0.0, 100.0]])).detach()
    tensor([[0., 1.]])
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        alpha: float = 0.5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Device = None,
        dtype: DType = None,
    ) -> None:
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        super().__init__(shape, alpha, elementwise_affine, bias, device, dtype)
        self.normalized_shape = shape

    def normalize(self, input: Tensor, **after: Any) -> Tensor:
        """Map the input."""
        if tuple(input.shape[max(input.dim() - len(self.normalized_shape), 0) :]) != self.normalized_shape:
            raise ArgumentError(
                explain(
                    "DynamicTanh",
                    f"the input's shape must end in {list(self.normalized_shape)}",
                    str(list(input.shape)),
                    "channels first are for DynamicTanh1d, 2d and 3d",
                )
            )
        output = self.squashed(input)
        if self.weight is not None:
            output = output * self.weight.to(output.dtype)
        if self.bias is not None:
            output = output + self.bias.to(output.dtype)
        return output.to(input.dtype)

    def describe(self) -> str:
        """The arguments, as torch writes them."""
        return f"{self.normalized_shape}, {self._options()}"


class _DynamicTanhOverChannels(Ranked, _DynamicTanh):
    """Operation of the forms over channels; a class names the ranks that it takes."""

    def __init__(
        self,
        num_channels: int,
        alpha: float = 0.5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Device = None,
        dtype: DType = None,
    ) -> None:
        super().__init__((num_channels,), alpha, elementwise_affine, bias, device, dtype)
        self.num_channels = num_channels

    def normalize(self, input: Tensor, **after: Any) -> Tensor:
        """Map the input."""
        self.check_rank(input)
        check_channels(type(self).__name__, input, self.num_channels)
        return affine(self.squashed(input), self.weight, self.bias).to(input.dtype)

    def describe(self) -> str:
        """The arguments, as torch writes them."""
        return f"{self.num_channels}, {self._options()}"


class DynamicTanh1d(_DynamicTanhOverChannels):
    """Dynamic tanh of (N, C) or (N, C, L), in the place of a normalization over channels.

    ``y = tanh(alpha · x) · weight + bias``, with one learned alpha and a weight and a bias per channel. The
    arguments but the first are those of `DynamicTanh`.

    Raises:
        ValueError: another number of axes or channels.

    Source: Zhu, Chen, He, LeCun & Liu 2025; the form that their ConvNeXt has.

    >>> DynamicTanh1d(2)(torch.tensor([[[0.0], [100.0]]])).detach().flatten()
    tensor([0., 1.])
    """

    ranks = (2, 3)


class DynamicTanh2d(_DynamicTanhOverChannels):
    """Dynamic tanh of (N, C, H, W), in the place of a normalization over channels; see `DynamicTanh1d`.

    >>> DynamicTanh2d(3)(torch.randn(2, 3, 4, 4)).abs().max() <= 1
    tensor(True)
    """

    ranks = (4,)


class DynamicTanh3d(_DynamicTanhOverChannels):
    """Dynamic tanh of (N, C, D, H, W), in the place of a normalization over channels; see `DynamicTanh1d`.

    >>> DynamicTanh3d(3)(torch.randn(2, 3, 2, 4, 4)).shape
    torch.Size([2, 3, 2, 4, 4])
    """

    ranks = (5,)
