"""Feature-wise linear modulation: a condition's scale and shift, without a normalization."""

from __future__ import annotations

from normwise.layers._state import Device, DType
from normwise.layers.conditional_norm import ConditionalNorm
from normwise.layers.modulation import LinearModulation


class FiLM(ConditionalNorm):
    """Scale and shift of the channels of (N, C, *) by a vector: ``layer(input, condition)``.

    ``y = x · (1 + γ(c)) + β(c)``, with γ and β linear in the condition, and zero at the start: the layer starts as
    the identity. It normalizes nothing; behind a normalization, that one needs no affine map.

    Args:
        num_features: C.
        num_conditions: E; the condition is (N, E).
        channels_last: channels are the last axis of the input's shape, (N, *, C).
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        ValueError: batch or size of the condition do not fit.

    Source: Perez et al. 2018, equation 2, about one.

    >>> import torch
    >>> x = torch.randn(2, 3, 4, 4)
    >>> torch.equal(FiLM(3, 5)(x, torch.randn(2, 5)), x)
    True
    """

    def __init__(
        self,
        num_features: int,
        num_conditions: int,
        channels_last: bool = False,
        device: Device = None,
        dtype: DType = None,
    ) -> None:
        modulation = LinearModulation(num_conditions, num_features, device=device, dtype=dtype)
        super().__init__(None, modulation, channels_last=channels_last)
