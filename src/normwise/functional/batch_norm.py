"""Batch normalization."""

from __future__ import annotations

from torch import Tensor

from normwise.errors import ArgumentError, explain
from normwise.geometry import Geometry
from normwise.kernels import aten


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | Tensor = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize each channel by its mean and variance over samples and positions.

    ``y = (x − μ) / sqrt(σ² + eps) · weight + bias``, with the biased variance σ². In training μ and σ² are
    the batch's, and the running statistics move by ``running ← (1 − momentum) · running + momentum · batch``,
    there with the unbiased variance; otherwise μ and σ² are the running ones.

    Args:
        input: (N, C, *).
        running_mean: (C,), changed in place in training; None tracks nothing.
        running_var: (C,), changed in place in training; None tracks nothing.
        weight: (C,) or None for 1.
        bias: (C,) or None for 0.
        training: use the batch's statistics and update the running ones.
        momentum: weight of the new batch; a tensor without dimensions is read on its device, not by Python.
        eps: added to the variance, under the root.

    Returns:
        The input's shape, dtype and layout. Statistics are float32, float64 for float64 input.

    Raises:
        ArgumentError: (a ValueError) one value per channel in training, or an `eps` that is not positive.

    Source: Ioffe & Szegedy 2015, algorithms 1 and 2.

    >>> import torch
    >>> batch_norm(torch.tensor([[1.0], [3.0]]), None, None, training=True, eps=1e-12)
    tensor([[-1.],
            [ 1.]])
    """
    if training:
        # Cheap first: this line runs at every step of networks whose steps are mostly overhead.
        if input.dim() > 1 and input.numel() <= input.shape[1] and Geometry.batch(input.shape).count == 1:
            raise ArgumentError(
                explain(
                    "BatchNorm",
                    "Expected more than 1 value per channel when training",
                    f"input size {tuple(input.shape)}",
                    "use a larger batch (drop_last=True drops a short last one), eval mode, or GroupNorm or "
                    "LayerNorm, whose statistics do not depend on the batch",
                )
            )
        if eps <= 0.0:
            raise ArgumentError(
                explain("BatchNorm", "batch_norm eps must be positive during training", f"{eps}", "use 1e-5")
            )
    elif eps < 0.0:
        raise ArgumentError(explain("BatchNorm", "batch_norm eps must be non-negative", f"{eps}", "use 1e-5"))
    return aten.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
