"""Root mean square normalization, over the trailing axes or over the channels of channels-first input."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from normwise.functional._channels import check_channels
from normwise.functional.finish import check_after, finish
from normwise.kernels import aten, cpu
from normwise.kernels.registry import note_aten, requested


def rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
    *,
    residual: Tensor | None = None,
    activation: str = "none",
    dropout: float = 0.0,
    generator: torch.Generator | None = None,
    backend: str | None = None,
) -> Tensor:
    """Scale the trailing axes by their root mean square; then residual, activation, dropout.

    ``y = dropout(activation(x / sqrt(mean(x²) + eps) · weight + residual))``.

    Args:
        input: (*, *normalized_shape).
        normalized_shape: the trailing axes.
        weight: `normalized_shape`, or None for 1.
        eps: added to the mean square, under the root; None is the machine epsilon of float32 (of float64 for
            float64).
        residual: of the input's shape, added before the activation.
        activation: one of `ACTIVATION_NAMES`.
        dropout: probability of a zero; the rest is scaled up.
        generator: where dropout's seed is drawn; None for torch's default.
        backend: one of `normwise.kernels.registry.BACKENDS`; None for the one in force.

    Returns:
        The input's shape and dtype, contiguous. The mean square is float32, float64 for float64 input.

    Raises:
        RuntimeError: the input does not end in `normalized_shape` (torch's own message).

    Source: Zhang & Sennrich 2019, equation 4, which has no eps.

    >>> import torch
    >>> rms_norm(torch.tensor([[3.0, -3.0]]), (2,), eps=1e-12)
    tensor([[ 1., -1.]])
    """
    normalized = tuple(normalized_shape)
    if residual is not None or activation != "none":
        check_after(input, residual, activation)
    backend = requested(backend)
    # Torch refuses other shapes, in its words.
    if backend != "aten" and normalized and input.shape[-len(normalized) :] == normalized:
        output = cpu.attempt_normalize(
            "rms_norm",
            backend,
            cpu.LAYER,
            input,
            weight,
            None,
            residual,
            trailing=len(normalized),
            centred=False,
            eps=_epsilon(input) if eps is None else eps,
            activation=activation,
            rate=dropout,
            generator=generator,
        )
        if output is not None:
            return output
    else:
        note_aten("rms_norm", input.shape)
    output = torch.rms_norm(input, normalized, weight, eps)
    return finish(output, residual, activation, dropout, dropout > 0.0, generator=generator)


def rms_norm_over_channels(
    input: Tensor,
    weight: Tensor | None = None,
    eps: float | None = None,
    *,
    num_channels: int | None = None,
    residual: Tensor | None = None,
    activation: str = "none",
    dropout: float = 0.0,
    generator: torch.Generator | None = None,
    backend: str | None = None,
) -> Tensor:
    """Scale axis 1 of channels-first input by its root mean square, position by position.

    The formula is that of `rms_norm`; the weight is (C,).

    Args:
        input: (N, C, *).
        weight: (C,) or None for 1.
        eps: as in `rms_norm`.
        num_channels: C, where no weight tells it.
        residual: of the input's shape, added before the activation.
        activation: one of `ACTIVATION_NAMES`.
        dropout: probability of a zero; the rest is scaled up.
        generator: where dropout's seed is drawn; None for torch's default.
        backend: one of `normwise.kernels.registry.BACKENDS`; None for the one in force.

    Returns:
        The input's shape, dtype and layout. The mean square is float32, float64 for float64 input.

    Raises:
        ArgumentError: (a ValueError) no axis of channels, or weight and channels that differ.

    >>> import torch
    >>> rms_norm_over_channels(torch.tensor([[[3.0], [-3.0]]]), eps=1e-12)
    tensor([[[ 1.],
             [-1.]]])
    """
    check_channels("RMSNorm", input, num_channels if weight is None else weight.shape[0])
    if residual is not None or activation != "none":
        check_after(input, residual, activation)
    backend = requested(backend)
    if backend != "aten":
        output = cpu.attempt_normalize(
            "rms_norm_over_channels",
            backend,
            cpu.LAYER,
            input,
            weight,
            None,
            residual,
            centred=False,
            eps=_epsilon(input) if eps is None else eps,
            activation=activation,
            rate=dropout,
            generator=generator,
        )
        if output is not None:
            return output
    else:
        note_aten("rms_norm_over_channels", input.shape)
    output = aten.rms_norm_over_channels(input, weight, eps)
    return finish(output, residual, activation, dropout, dropout > 0.0, generator=generator)


def _epsilon(input: Tensor) -> float:
    return torch.finfo(torch.float64 if input.dtype == torch.float64 else torch.float32).eps
