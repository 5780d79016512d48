"""Adaptive instance normalization: moments of a style image, or a linear map of a style vector."""

from __future__ import annotations

from torch import Tensor, nn

from normwise import functional
from normwise.layers._state import Device, DType
from normwise.layers._trace import as_leaf, is_traced
from normwise.layers.conditional_norm import ConditionalNorm
from normwise.layers.instance_norm import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from normwise.layers.modulation import LinearModulation


class AdaIN(nn.Module):
    """Adaptive instance normalization of (N, C, *) by the features of a style: ``layer(input, style)``.

    ``y = (x − μ(x)) / sqrt(σ²(x) + eps) · sqrt(σ²(s) + eps) + μ(s)``, with moments over the positions of each
    channel of each sample. Nothing is learned. A style that is the input gives the input.

    Args:
        eps: added to both variances, under the roots.

    Raises:
        ValueError: a single position, or a style of other samples or channels; its positions may be others.

    Source: Huang & Belongie 2017, equation 8; biased variances here, as in `InstanceNorm2d`, unbiased ones in their
    code.

    >>> import torch
    >>> x, style = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 8, 8) + 5
    >>> AdaIN()(x, style).mean((2, 3)).sub(style.mean((2, 3))).abs().max() < 1e-5
    tensor(True)
    """

    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, input: Tensor, style: Tensor) -> Tensor:
        """Give the input the style's moments."""
        if is_traced(input):
            output: Tensor = as_leaf(self, input, style)
            return output
        return functional.adaptive_instance_norm(input, style, self.eps)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"eps={self.eps}"


class _AdaInstanceNorm(ConditionalNorm):
    """The three classes; each names its normalization."""

    normalization: type[nn.Module]

    def __init__(
        self,
        num_features: int,
        num_conditions: int,
        eps: float = 1e-5,
        device: Device = None,
        dtype: DType = None,
    ) -> None:
        norm = self.normalization(num_features, eps)
        super().__init__(norm, LinearModulation(num_conditions, num_features, device=device, dtype=dtype))


class AdaInstanceNorm1d(_AdaInstanceNorm):
    """Instance normalization of (N, C, L), scaled and shifted by a style vector: ``layer(input, condition)``.

    ``y = (x − μ) / sqrt(σ² + eps) · (1 + γ(c)) + β(c)``, with γ and β linear in the condition, and zero at the start.

    Args:
        num_features: C.
        num_conditions: E; the condition is (N, E).
        eps: added to the variance, under the root.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        ValueError: batch or size of the condition do not fit, or a single position in training.

    Source: Karras, Laine & Aila 2019 (StyleGAN), equation 1; there the map does not start at zero.

    >>> import torch
    >>> AdaInstanceNorm1d(1, 4)(torch.tensor([[[1.0, 3.0]]]), torch.randn(1, 4)).detach().round(decimals=3)
    tensor([[[-1.,  1.]]])
    """

    normalization = InstanceNorm1d


class AdaInstanceNorm2d(_AdaInstanceNorm):
    """Instance normalization of (N, C, H, W), scaled and shifted by a style vector; see `AdaInstanceNorm1d`.

    >>> import torch
    >>> AdaInstanceNorm2d(3, 5)(torch.randn(2, 3, 4, 4), torch.randn(2, 5)).shape
    torch.Size([2, 3, 4, 4])
    """

    normalization = InstanceNorm2d


class AdaInstanceNorm3d(_AdaInstanceNorm):
    """Instance normalization of (N, C, D, H, W), scaled and shifted by a style vector; see `AdaInstanceNorm1d`.

    >>> import torch
    >>> AdaInstanceNorm3d(3, 5)(torch.randn(2, 3, 2, 4, 4), torch.randn(2, 5)).shape
    torch.Size([2, 3, 2, 4, 4])
    """

    normalization = InstanceNorm3d
