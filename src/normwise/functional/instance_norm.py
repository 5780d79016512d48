"""Instance normalization."""

from __future__ import annotations

from torch import Tensor

from normwise.errors import ArgumentError, explain
from normwise.geometry import Geometry
from normwise.kernels import aten


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize each channel of each sample by its mean and variance over positions.

    ``y = (x − μ) / sqrt(σ² + eps) · weight + bias``, with the biased variance σ². Running statistics, if
    given, move towards the mean over samples of the instances' means and unbiased variances.

    Args:
        input: (N, C, *) with at least one axis of positions.
        running_mean: (C,), changed in place when `use_input_stats`; None tracks nothing.
        running_var: (C,), changed in place when `use_input_stats`; None tracks nothing.
        weight: (C,) or None for 1.
        bias: (C,) or None for 0.
        use_input_stats: normalize by the input's statistics; otherwise by the running ones.
        momentum: weight of the new batch.
        eps: added to the variance, under the root.

    Returns:
        The input's shape, dtype and layout (torch's own loses channels_last). Statistics are float32, float64
        for float64 input.

    Raises:
        ArgumentError: (a ValueError) a single position, or running statistics that are asked for and missing.

    Source: Ulyanov, Vedaldi & Lempitsky 2016, equation 5.

    >>> import torch
    >>> instance_norm(torch.tensor([[[1.0, 3.0], [10.0, 30.0]]]), eps=1e-12)
    tensor([[[-1.,  1.],
             [-1.,  1.]]])
    """
    if use_input_stats:
        if Geometry.instance(input.shape).positions == 1:
            raise ArgumentError(
                explain(
                    "InstanceNorm",
                    "Expected more than 1 spatial element when training",
                    f"input size {tuple(input.shape)}",
                    "a single position has no variance; use LayerNorm or GroupNorm there",
                )
            )
    elif running_mean is None or running_var is None:
        raise ArgumentError(
            explain("instance_norm", "use_input_stats=False needs running_mean and running_var", "None")
        )
    return aten.instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)
