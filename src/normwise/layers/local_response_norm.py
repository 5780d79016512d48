"""Local response normalization: torch's class, in every layout, dtype and at zero."""

from __future__ import annotations

from torch import Tensor, nn

from normwise import functional
from normwise.errors import ArgumentError, explain
from normwise.layers._trace import as_leaf, is_traced


class LocalResponseNorm(nn.LocalResponseNorm):
    """Local response normalization of (N, C, *); means what `torch.nn.LocalResponseNorm` means.

    ``y = x / (k + alpha / size · Σ x²)^beta``, over the `size` channels from ``c − ⌊size / 2⌋`` on; beyond the
    first and the last channel there are zeros. Unlike torch's,

    - squares and powers are float32 for narrow input: in float16 torch's squares overflow from 256 on;
    - an input of 5 or more axes may have any strides, where torch's raises;
    - with ``k=0`` zeros stay zeros, where torch's gives NaN;
    - an empty batch gives an output of its own, not the input itself.

    Args:
        size: the number of neighbouring channels, the channel itself among them.
        alpha: weight of the mean square.
        beta: the exponent.
        k: added to it.

    Raises:
        ValueError: `size` is below 1, or the input has fewer than three axes.

    Source: Krizhevsky, Sutskever & Hinton 2012, section 3.3, whose alpha is not divided by `size`.

    >>> import torch
    >>> LocalResponseNorm(1, alpha=1.0, beta=0.5, k=0.0)(torch.tensor([[[3.0], [-4.0]]])).flatten()
    tensor([ 1., -1.])
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        if size < 1:
            raise ArgumentError(explain("LocalResponseNorm", "`size` must be at least 1", repr(size)))
        super().__init__(size, alpha, beta, k)

    def forward(self, input: Tensor) -> Tensor:
        """Normalize the input."""
        if is_traced(input):
            output: Tensor = as_leaf(self, input)
            return output
        return functional.local_response_norm(input, self.size, self.alpha, self.beta, self.k)
