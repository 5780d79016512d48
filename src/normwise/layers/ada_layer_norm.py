"""Adaptive layer normalization of tokens, with and without the gate of a residual branch."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from normwise.layers._state import Device, DType
from normwise.layers._trace import as_leaf, is_traced
from normwise.layers.conditional_norm import ConditionalNorm
from normwise.layers.layer_norm import LayerNorm
from normwise.layers.modulation import LinearModulation


class AdaLayerNorm(ConditionalNorm):
    """Layer normalization of the features of (N, *, C), scaled and shifted by a vector: ``layer(input, condition)``.

    ``y = (x − μ) / sqrt(σ² + eps) · (1 + γ) + β``, with ``γ, β = W · activation(c) + b``, zero at the start.

    Args:
        num_features: C, the last axis.
        num_conditions: E; the condition is (N, E), or (N, *, E) for one of each token.
        eps: added to the variance, under the root; DiT's, a tenth of torch's.
        activation: of the condition, before the linear map.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        ValueError: batch or size of the condition do not fit.
        RuntimeError: the input's last axis has another size.
        UnknownNameError: the activation is not known.

    Source: Peebles & Xie 2023, section 3.2 (adaLN), who have shift before scale in one linear map.

    >>> import torch
    >>> layer = AdaLayerNorm(2, 4, eps=1e-12)
    >>> layer(torch.tensor([[[1.0, 3.0]]]), torch.randn(1, 4)).detach()
    tensor([[[-1.,  1.]]])
    """

    parts = 2

    def __init__(
        self,
        num_features: int,
        num_conditions: int,
        eps: float = 1e-6,
        activation: str = "silu",
        device: Device = None,
        dtype: DType = None,
    ) -> None:
        norm = LayerNorm(num_features, eps, elementwise_affine=False)
        modulation = LinearModulation(num_conditions, num_features, self.parts, activation, device, dtype)
        super().__init__(norm, modulation, channels_last=True)


class AdaLayerNormZero(AdaLayerNorm):
    """`AdaLayerNorm` that gives a gate, too, for the branch that it leads into: ``h, gate = layer(input, condition)``.

    ``h = (x − μ) / sqrt(σ² + eps) · (1 + γ) + β``, with ``γ, β, gate = W · activation(c) + b``, all zero at the
    start. The branch goes in as ``x + gate · branch(h)``, and so a block starts as the identity. The gate has the
    input's axes, with 1 where all tokens share it.

    Arguments and errors are those of `AdaLayerNorm`.

    Source: Peebles & Xie 2023, section 3.2 (adaLN-Zero), who compute the six parts of a block's two branches at once.

    >>> import torch
    >>> x = torch.randn(2, 5, 8)
    >>> h, gate = AdaLayerNormZero(8, 4)(x, torch.randn(2, 4))
    >>> gate.shape, torch.equal(x + gate * h.tanh(), x)
    (torch.Size([2, 1, 8]), True)
    """

    parts = 3

    def forward(self, input: Tensor, condition: Tensor) -> Any:
        """Normalize the input and modulate it; the gate beside it."""
        if is_traced(input):
            return as_leaf(self, input, condition)
        return self.modulated(input, condition)
